"""Split a batch into pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch

BUSY_TOKENS = 2048
"""Tokens at once below which a GPU is taken to be idle for a part of the time; not measured."""


@dataclass(frozen=True)
class Limit:
    """The most that passes through a network at once; None sets no limit.

    Attributes:
        examples: Examples.
        tokens: Tokens, padding included. One example may have more, and passes alone.

    """

    examples: int | None = None
    tokens: int | None = None

    def size(self, num_examples: int, width: int) -> int:
        """Return how many of the examples, of `width` tokens each, pass at once.

        >>> Limit(tokens=1000).size(64, 300), Limit(tokens=1000).size(64, 1500)
        (3, 1)
        """
        fitting = None if self.tokens is None else max(1, self.tokens // width)
        return smallest(num_examples, self.examples, fitting)

    def halved(self, size: int, width: int) -> Limit:
        """Return the limit after `size` examples of `width` tokens did not fit into memory.

        Raises:
            Stopped: It was one example, so the run ends.

        """
        if size == 1:
            reason = f"one example of {width} tokens does not fit into memory"
            raise Stopped(Ending.infeasible, reason)
        if self.tokens is None:
            return replace(self, examples=size // 2)
        return replace(self, tokens=size // 2 * width)


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
