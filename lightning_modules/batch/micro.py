"""Split a batch into pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch


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


def halved(size: int, batch: Batch) -> int:
    """Return half of a size that did not fit into memory; at one example, end the run."""
    if size > 1:
        return size // 2
    num_tokens = batch["input_ids"].shape[1]
    raise Stopped(Ending.infeasible, f"one example of {num_tokens} tokens does not fit into memory")
