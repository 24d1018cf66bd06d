"""Split rows at random, stratified and with duplicates kept together, or take a part of them.

A text that occurs twice must not be in both training and evaluation, so all rows whose texts
differ only in case and spaces go to the same split.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.columns import part_of
from lightning_modules.rows.corpus import Row
from lightning_modules.rows.digest import digest
from lightning_modules.seed import seeds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_modules.task.base import Task


class Pool:
    """Rows of which splits are taken, one after the other; each text is read once for all of them.

    Attributes:
        rows: The rows that are left.

    """

    def __init__(self, rows: Sequence[Row], task: Task, seeds: Mapping[str, int]) -> None:
        """Prepare to take splits.

        Args:
            rows: The rows.
            task: Their task.
            seeds: The names of the splits to take, and the seed that each is drawn by.

        """
        self.rows = rows
        self._task = task
        self._keys = _keys_of(rows, task, seeds)

    def take(self, fraction: float, name: str) -> Sequence[Row]:
        """Take about `fraction` of each stratum's rows for a split.

        The choice depends on the texts, the seed and the name, not on the order of the rows. A
        stratum that is a single group is left, and so are rows with a required kind that no row
        that is left has.
        """
        import numpy as np

        groups = _groups_of(self._keys, name)
        taken_G = np.zeros(len(groups.sizes), bool)
        order_G = np.lexsort((groups.keys, groups.strata))
        _, starts = np.unique(groups.strata[order_G], return_index=True)
        for members in np.split(order_G, starts[1:]):
            sizes = groups.sizes[members]
            wanted = max(1, round(fraction * int(sizes.sum())))
            taken_G[members[_choose(sizes.tolist(), wanted)]] = True
        _keep_required(groups, self._keys, self.rows, self._task, taken_G)
        is_taken = taken_G[groups.of_row]
        taken = part_of(self.rows, is_taken)
        self.rows, self._keys = part_of(self.rows, ~is_taken), self._keys.part(~is_taken)
        return taken


def stratified_part(rows: Sequence[Row], task: Task, num_rows: int, seed: int) -> Sequence[Row]:
    """Return `num_rows` of the rows in their order, stratified, with at least one per stratum.

    A larger `num_rows` adds rows to those of a smaller one. The choice depends on the texts and
    the seed, not on the order of the rows.
    """
    import numpy as np

    by_stratum: dict[str, array[int]] = defaultdict(partial(array, "q"))
    keys, seed_of_text = array("q"), seeds_of(seed, "part")
    for index, row in enumerate(rows):
        by_stratum[task.stratum(row)].append(index)
        keys.append(seed_of_text(task.text_of(row)))
    keys_N, place_N = np.frombuffer(keys, np.int64), np.empty(len(rows))
    for indices in by_stratum.values():
        members = np.frombuffer(indices, np.int64)
        # Equal texts in their order: members ascend, and the sort is stable.
        members = members[np.argsort(keys_N[members], kind="stable")]
        place_N[members] = np.arange(len(members)) / len(members)
    is_kept = np.zeros(len(rows), bool)
    is_kept[np.lexsort((keys_N, place_N))[:num_rows]] = True
    return part_of(rows, is_kept)


@dataclass(frozen=True)
class _Keys:
    """What rows are drawn by. Shapes: N rows, S strata.

    Attributes:
        group: A hash of what rows must have in common to stay together, (N,).
        sort: By split, what groups are sorted by, (N,): a hash of each text, so that rows added
            later move few of the others.
        stratum: The number of each row's stratum, (N,).
        rank: The place of each stratum in the alphabet, (S,).
        kind: The number of each row's set of required kinds, (N,).
        kinds: These sets.

    """

    group: NDArray[Any]
    sort: Mapping[str, NDArray[Any]]
    stratum: NDArray[Any]
    rank: NDArray[Any]
    kind: NDArray[Any]
    kinds: Sequence[frozenset[str]]

    def part(self, is_kept: NDArray[Any]) -> _Keys:
        """Return those of the rows that are marked, (N,)."""
        sort = {name: keys[is_kept] for name, keys in self.sort.items()}
        return replace(
            self,
            group=self.group[is_kept],
            sort=sort,
            stratum=self.stratum[is_kept],
            kind=self.kind[is_kept],
        )


def _keys_of(rows: Sequence[Row], task: Task, seeds: Mapping[str, int]) -> _Keys:
    import numpy as np

    strata: dict[str, int] = {}
    kinds: dict[frozenset[str], int] = {}
    group_N, stratum_N, kind_N = array("Q"), array("i"), array("i")
    draws = [(array("q"), seeds_of(seed, "split", name)) for name, seed in seeds.items()]
    for row in rows:
        text = task.group(row)
        group_N.append(digest(text))
        for keys_N, seed_of_text in draws:
            keys_N.append(seed_of_text(text))
        stratum_N.append(strata.setdefault(task.stratum(row), len(strata)))
        kind_N.append(kinds.setdefault(frozenset(task.required(row)), len(kinds)))
    place = {stratum: number for number, stratum in enumerate(sorted(strata))}
    return _Keys(
        task.known_groups(rows, np.frombuffer(group_N, np.uint64)),
        {name: np.frombuffer(keys, np.int64) for name, (keys, _) in zip(seeds, draws, strict=True)},
        np.frombuffer(stratum_N, np.int32),
        np.array([place[stratum] for stratum in strata], np.int64),
        np.frombuffer(kind_N, np.int32),
        list(kinds),
    )


@dataclass(frozen=True)
class _Groups:
    """Rows that must stay together. Shapes: N rows, G groups.

    Attributes:
        of_row: The group of each row, (N,).
        first: The first row of each group, (G,).
        sizes: The number of rows of each group, (G,).
        keys: What groups are sorted by, (G,).
        strata: The number of each group's stratum, (G,): the first by alphabet of its rows'.

    """

    of_row: NDArray[Any]
    first: NDArray[Any]
    sizes: NDArray[Any]
    keys: NDArray[Any]
    strata: NDArray[Any]


def _groups_of(keys: _Keys, name: str) -> _Groups:
    import numpy as np

    _, first_G, group_N, sizes_G = np.unique(
        keys.group, return_index=True, return_inverse=True, return_counts=True
    )
    strata_G = np.full(len(first_G), len(keys.rank))
    np.minimum.at(strata_G, group_N, keys.rank[keys.stratum])
    return _Groups(group_N, first_G, sizes_G, keys.sort[name][first_G], strata_G)


def _keep_required(
    groups: _Groups, keys: _Keys, rows: Sequence[Row], task: Task, taken_G: NDArray[Any]
) -> None:
    """Unmark groups with a kind that no row besides the marked groups has."""
    import numpy as np

    is_taken = taken_G[groups.of_row]
    kept = np.unique(keys.kind[~is_taken])
    known = set[str]().union(*(keys.kinds[each] for each in kept))
    is_lacking = np.array([not each <= known for each in keys.kinds], bool)
    lacking: dict[int, set[str]] = {}
    for number in np.flatnonzero(is_taken & is_lacking[keys.kind]).tolist():
        found = lacking.setdefault(int(groups.of_row[number]), set())
        found |= keys.kinds[keys.kind[number]]
    texts = {group: task.group(rows[int(groups.first[group])]) for group in lacking}
    for group in sorted(lacking, key=texts.__getitem__):
        if not lacking[group] <= known:
            taken_G[group] = False
            known |= lacking[group]


def _choose(sizes: Sequence[int], wanted: int) -> list[int]:
    """Return some groups by their places, in order, but never all of them.

    They have at most `wanted` rows, or are the smallest group if none fits.
    """
    chosen: list[int] = []
    num_rows, num_groups_left = 0, len(sizes)
    for place, size in enumerate(sizes):
        if num_groups_left > 1 and num_rows + size <= wanted:
            chosen.append(place)
            num_rows += size
            num_groups_left -= 1
    if not chosen and num_groups_left > 1:
        chosen.append(min(range(len(sizes)), key=sizes.__getitem__))
    return chosen
