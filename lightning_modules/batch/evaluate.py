"""Run a function of batches over all examples, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.batch.join import in_row_order, joined
from lightning_modules.batch.micro import Limit, micro_batches, num_examples
from lightning_modules.batch.order import evaluation_batches
from lightning_modules.machine.memory import unless_out_of_memory

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch

See = Callable[["Batch"], Mapping[str, "torch.Tensor"]]


def over_examples(
    examples: Any,
    lengths: Sequence[int],
    collate: Callable[[list[Any]], Batch],
    device: torch.device,
    see: See,
    limit: Limit,
    heartbeat: Callable[[str], None] = lambda doing: None,
) -> dict[str, torch.Tensor]:
    """Return what `see` returns for batches, joined in the order of the examples, on the CPU.

    Args:
        examples: The examples, by number.
        lengths: The number of tokens of each.
        collate: Makes a batch of examples.
        device: Where `see` takes batches.
        see: Returns tensors with one entry per example.
        limit: The most that `see` takes at once.
        heartbeat: Called before each batch with a description of the work.

    Raises:
        Stopped: One example does not fit into memory.

    """
    batches, seen = evaluation_batches(lengths), []
    with torch.inference_mode():
        for number, rows in enumerate(batches):
            heartbeat(f"batch {number + 1} of {len(batches)}")
            batch = collate([examples[row] for row in rows])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            found, limit = _fitting(batch, see, limit)
            seen.append(found)
    return in_row_order(seen, batches)


def _fitting(batch: Batch, see: See, limit: Limit) -> tuple[dict[str, torch.Tensor], Limit]:
    """Return what `see` returns for a batch, and the limit under which it fits into memory."""
    width = batch["input_ids"].shape[1]
    while True:
        size = limit.size(num_examples(batch), width)
        found = unless_out_of_memory(partial(_pieces, batch, size, see))
        if found is not None:
            return found, limit
        limit = limit.halved(size, width)


def _pieces(batch: Batch, size: int, see: See) -> dict[str, torch.Tensor]:
    parts = [see(piece) for piece in micro_batches(batch, size)]
    return {name: tensor.cpu() for name, tensor in joined(parts).items()}
