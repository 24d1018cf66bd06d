"""Split rows at random, stratified and with duplicates kept together, or take a part of them.

A text that occurs twice must not be in both training and evaluation, so all rows whose texts
differ only in case and spaces go to the same split.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.columns import part_of
from lightning_modules.rows.corpus import Row
from lightning_modules.rows.digest import digest
from lightning_modules.seed import seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_modules.task.base import Task


def split_off(
    rows: Sequence[Row], task: Task, fraction: float, seed: int, name: str
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return (kept, taken): about `fraction` of each stratum's rows are taken for split `name`.

    The choice depends on the texts, the seed and the name, not on the order of the rows. A stratum
    that is a single group is kept, and so are rows with a required kind that no kept row has.
    """
    import numpy as np

    groups = _groups_of(rows, task, seed, name)
    taken_G = np.zeros(len(groups.sizes), bool)
    order_G = np.lexsort((groups.keys, groups.strata))
    _, starts = np.unique(groups.strata[order_G], return_index=True)
    for members in np.split(order_G, starts[1:]):
        sizes = groups.sizes[members]
        wanted = max(1, round(fraction * int(sizes.sum())))
        taken_G[members[_choose(sizes.tolist(), wanted)]] = True
    _keep_required(groups, rows, task, taken_G)
    is_taken = taken_G[groups.of_row]
    return part_of(rows, ~is_taken), part_of(rows, is_taken)


def stratified_part(rows: Sequence[Row], task: Task, num_rows: int, seed: int) -> Sequence[Row]:
    """Return `num_rows` of the rows in their order, stratified, with at least one per stratum.

    A larger `num_rows` adds rows to those of a smaller one. The choice depends on the texts and
    the seed, not on the order of the rows.
    """
    import numpy as np

    by_stratum: dict[str, array[int]] = defaultdict(partial(array, "q"))
    keys = array("q")
    for index, row in enumerate(rows):
        by_stratum[task.stratum(row)].append(index)
        keys.append(seed_of(seed, "part", task.text_of(row)))
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
class _Groups:
    """Rows that must stay together. Shapes: N rows, G groups.

    Attributes:
        of_row: The group of each row, (N,).
        first: The first row of each group, (G,).
        sizes: The number of rows of each group, (G,).
        keys: What groups are sorted by, (G,): a hash of each text, so that rows added later move
            few of the others.
        strata: The number of each group's stratum, (G,): the first by alphabet of its rows'.
        kinds: The sets of required kinds that rows have.
        kinds_of_row: The number of each row's set, (N,).

    """

    of_row: NDArray[Any]
    first: NDArray[Any]
    sizes: NDArray[Any]
    keys: NDArray[Any]
    strata: NDArray[Any]
    kinds: Sequence[frozenset[str]]
    kinds_of_row: NDArray[Any]


def _groups_of(rows: Sequence[Row], task: Task, seed: int, name: str) -> _Groups:
    import numpy as np

    strata: dict[str, int] = {}
    kinds: dict[frozenset[str], int] = {}
    key_N, sort_N, stratum_N, kinds_N = array("Q"), array("q"), array("q"), array("q")
    for row in rows:
        text = task.group(row)
        key_N.append(digest(text))
        sort_N.append(seed_of(seed, "split", name, text))
        stratum_N.append(strata.setdefault(task.stratum(row), len(strata)))
        kinds_N.append(kinds.setdefault(frozenset(task.required(row)), len(kinds)))
    _, first_G, group_N, sizes_G = np.unique(
        np.frombuffer(key_N, np.uint64), return_index=True, return_inverse=True, return_counts=True
    )
    rank = {stratum: place for place, stratum in enumerate(sorted(strata))}
    rank_S = np.array([rank[stratum] for stratum in strata], np.int64)
    strata_G = np.full(len(first_G), len(strata))
    np.minimum.at(strata_G, group_N, rank_S[np.frombuffer(stratum_N, np.int64)])
    keys_G = np.frombuffer(sort_N, np.int64)[first_G]
    kinds_of_row = np.frombuffer(kinds_N, np.int64)
    return _Groups(group_N, first_G, sizes_G, keys_G, strata_G, list(kinds), kinds_of_row)


def _keep_required(groups: _Groups, rows: Sequence[Row], task: Task, taken_G: NDArray[Any]) -> None:
    """Unmark groups with a kind that no row besides the marked groups has."""
    import numpy as np

    is_taken = taken_G[groups.of_row]
    kept = np.unique(groups.kinds_of_row[~is_taken])
    known = set[str]().union(*(groups.kinds[each] for each in kept))
    is_lacking = np.array([not each <= known for each in groups.kinds], bool)
    lacking: dict[int, set[str]] = {}
    for number in np.flatnonzero(is_taken & is_lacking[groups.kinds_of_row]).tolist():
        found = lacking.setdefault(int(groups.of_row[number]), set())
        found |= groups.kinds[groups.kinds_of_row[number]]
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
