"""Whole examples in blocks of one length: several beside each other, none of them cut.

Best-fit decreasing: from the longest to the shortest, each example goes to the block with the least
room that it fits into, and to a new one if there is none (Johnson 1973; at most 11/9 of the fewest
blocks, and a few more). Examples in a block do not see each other: `position_ids` restart at 0 with
each of them, from which transformers derives the attention mask.

Cost: n log n for n examples; attention takes length^2 per block, however short its examples are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_modules.batch.type import IGNORED


def blocks(columns: Mapping[str, Sequence[Any]], length: int, filler: int) -> dict[str, list[Any]]:
    """Return `input_ids`, `labels` and `position_ids` of blocks with these examples.

    Args:
        columns: The examples; of them `input_ids` and `labels`, at most `length` long, are used.
        length: Tokens per block.
        filler: Token at the end of a block; its labels are `IGNORED`.

    """
    import numpy as np

    found: dict[str, list[Any]] = {"input_ids": [], "labels": [], "position_ids": []}
    ids, labels = columns["input_ids"], columns["labels"]
    for members in best_fit([len(each) for each in ids], length):
        sizes = [len(ids[member]) for member in members]
        rest = length - sum(sizes)
        for name, parts, fill in (("input_ids", ids, filler), ("labels", labels, IGNORED)):
            joined = [token for member in members for token in parts[member]]
            found[name].append(np.array([*joined, *[fill] * rest], np.int32))
        positions = [np.arange(size, dtype=np.int32) for size in (*sizes, rest)]
        found["position_ids"].append(np.concatenate(positions))
    return found


def best_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the numbers of the items of each bin, both in the order of the first items.

    >>> best_fit([3, 2, 5, 1, 4], 6)
    [[0], [1, 4], [2, 3]]
    """
    assert max(sizes, default=0) <= capacity
    bins: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # the keys of `by_room`, ascending
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        at = bisect_left(rooms, sizes[item])
        if at < len(rooms):
            room = rooms[at]
            number = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[at]
        else:
            room, number = capacity, len(bins)
            bins.append([])
        bins[number].append(item)
        rest = room - sizes[item]
        if rest and rest not in by_room:
            by_room[rest] = []
            insort(rooms, rest)
        if rest:
            by_room[rest].append(number)
    return sorted(sorted(each) for each in bins)
