"""Run a function of batches over all examples, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lightning_modules.batch.join import in_row_order, joined
from lightning_modules.batch.micro import micro_batches
from lightning_modules.batch.order import NUM_EVALUATED_AT_ONCE, evaluation_batches
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch

See = Callable[["Batch"], Mapping[str, "torch.Tensor"]]


def over_examples(
    examples: Any,
    lengths: Sequence[int],
    collate: Callable[[list[Any]], Batch],
    device: torch.device,
    see: See,
    heartbeat: Callable[[str], None] = lambda doing: None,
) -> dict[str, torch.Tensor]:
    """Return what `see` returns for batches, joined in the order of the examples, on the CPU.

    Args:
        examples: The examples, by number.
        lengths: The number of tokens of each.
        collate: Makes a batch of examples.
        device: Where `see` takes batches.
        see: Returns tensors with one entry per example.
        heartbeat: Called before each batch with a description of the work.

    Raises:
        Stopped: One example does not fit into memory.

    """
    batches, seen, size = evaluation_batches(lengths), [], NUM_EVALUATED_AT_ONCE
    with torch.inference_mode():
        for number, rows in enumerate(batches):
            heartbeat(f"batch {number + 1} of {len(batches)}")
            batch = collate([examples[row] for row in rows])
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            while (found := unless_out_of_memory(partial(_pieces, batch, size, see))) is None:
                if (size := min(size, len(rows)) // 2) == 0:
                    width = batch["input_ids"].shape[1]
                    reason = f"one example of {width} tokens does not fit into memory"
                    raise Stopped(Ending.infeasible, reason)
            seen.append(found)
    return in_row_order(seen, batches)


def _pieces(batch: Batch, size: int, see: See) -> dict[str, torch.Tensor]:
    parts = [see(piece) for piece in micro_batches(batch, size)]
    return {name: tensor.cpu() for name, tensor in joined(parts).items()}
