"""Split a batch into pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch

BUSY_TOKENS = 2048
"""Tokens at once below which a GPU is taken to be idle for a part of the time; not measured."""


def num_examples(batch: Batch) -> int:
    """Return the number of examples in the batch."""
    return len(next(iter(batch.values())))


def micro_batches(batch: Batch, size: int) -> Iterator[Batch]:
    """Yield pieces of the batch with at most `size` examples each."""
    for start in range(0, num_examples(batch), size):
        yield {name: tensor[start : start + size] for name, tensor in batch.items()}


def smallest(*sizes: int | None) -> int:
    """Return the smallest size that is not None."""
    return min(size for size in sizes if size is not None)


def is_small(batch: Batch, size: int, device_type: str) -> bool:
    """Return whether halving micro-batches of `size` costs more than recomputing activations.

    A GPU needs some thousand tokens at once to be busy; a CPU is busy with one example.
    """
    if size == 1:
        return True
    ids_BT = batch.get("input_ids")
    return device_type == "cuda" and ids_BT is not None and size * ids_BT.shape[1] <= BUSY_TOKENS


def halved(size: int, batch: Batch) -> int:
    """Return half of a size that did not fit into memory; at one example, end the run."""
    if size > 1:
        return size // 2
    num_tokens = batch["input_ids"].shape[1]
    raise Stopped(Ending.infeasible, f"one example of {num_tokens} tokens does not fit into memory")
