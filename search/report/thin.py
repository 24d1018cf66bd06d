"""Which trials of a large study a report draws and lists, so that its page stays small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

MAX_SHOWN = 2000
"""Trials up to which a report draws all."""
NUM_BEST = 100
"""The best trials that are drawn in any case, if that is at most a quarter of all drawn."""

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` of the items, evenly, the first and the last among them.

    >>> evenly([0, 1, 2, 3, 4, 5, 6], 3), evenly([0, 1], 3), evenly([0, 1], 1), evenly([0], 0)
    ([0, 3, 6], [0, 1], [0], [])
    """
    if len(items) <= most:
        return items
    if most < 2:
        return items[:most]
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def thinned(numbers: Sequence[int], kept: Iterable[int], most: int) -> frozenset[int]:
    """Return at most `most` of the numbers: the first of those to keep, and others evenly.

    >>> sorted(thinned(range(10), [3], 4))
    [0, 3, 5, 9]
    """
    if len(numbers) <= most:
        return frozenset(numbers)
    first = dict.fromkeys(list(dict.fromkeys(kept))[:most])
    others = [number for number in numbers if number not in first]
    return frozenset(first) | frozenset(evenly(others, most - len(first)))
