"""Spans: the batches of consecutive steps, or of a validation, as one batch of Lightning's loop.

Per batch, Lightning's loop takes 0.8 ms for hooks, callbacks and counters. That is little beside
a step of a whole network, and twice as much as a step of a linear head on stored features. The
steps of a span are those without it; Lightning runs its callbacks once per span.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from lightning_modules.batch.type import Batch


MOST_BATCHES = 16
"""Batches of a span, which are in memory at the same time."""


class Spans:
    """The batches of `loader` in spans of these sizes."""

    def __init__(self, loader: DataLoader[Any], sizes: Sequence[int]) -> None:
        self.loader = loader
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[Batch]]:
        batches = iter(self.loader)
        for size in self._sizes:
            yield list(islice(batches, size))


def span_sizes(start: int, num_batches: int, every: int, ends: Collection[int] = ()) -> list[int]:
    """Return the numbers of batches in the spans of a run or of a validation.

    Which batches share a span does not depend on `start`, as far as they are still to come.

    Args:
        start: The batches that are done, e.g. optimizer steps.
        num_batches: All batches.
        every: A span ends after each multiple of this number.
        ends: Further numbers after which a span ends, e.g. those of steps with a validation.

    >>> span_sizes(3, 25, 10, {12})
    [7, 2, 8, 5]
    """
    multiples = range(start - start % every + every, num_batches, every)
    stops = sorted(end for end in {*multiples, *ends, num_batches} if start < end <= num_batches)
    return [end - before for before, end in zip([start, *stops], stops, strict=False)]
