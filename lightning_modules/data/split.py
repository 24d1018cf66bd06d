"""Split rows at random, stratified and with duplicates kept together, or take a part of them.

A text that occurs twice must not be in both training and evaluation, so all rows whose texts
differ only in case and spaces go to the same split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_modules.rows.corpus import Row
from lightning_modules.seed import seed_of

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


def split_off(
    rows: Sequence[Row], task: Task, fraction: float, seed: int, name: str
) -> tuple[list[Row], list[Row]]:
    """Return (kept, taken): about `fraction` of each stratum's rows are taken for split `name`.

    The choice depends on the texts, the seed and the name, not on the order of the rows. A stratum
    that is a single group is kept, and so are rows with a required kind that no kept row has.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[task.group(row)].append(index)
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for text, indices in members.items():
        by_stratum[min(task.stratum(rows[index]) for index in indices)].append(text)
    taken: set[int] = set()
    for stratum in sorted(by_stratum):
        # By a hash of each text: adding rows later moves few of the others.
        keys = {text: seed_of(seed, "split", name, text) for text in by_stratum[stratum]}
        texts = sorted(keys, key=lambda text: (keys[text], text))
        wanted = max(1, round(fraction * sum(len(members[text]) for text in texts)))
        taken.update(_choose([members[text] for text in texts], wanted))
    known = {kind for index in set(range(len(rows))) - taken for kind in task.required(rows[index])}
    for _, indices in sorted(members.items()):
        kinds = {kind for index in indices for kind in task.required(rows[index])}
        if not taken.isdisjoint(indices) and not kinds <= known:
            taken.difference_update(indices)
            known |= kinds
    kept_rows = [row for index, row in enumerate(rows) if index not in taken]
    return kept_rows, [rows[index] for index in sorted(taken)]


def stratified_part(rows: Sequence[Row], task: Task, num_rows: int, seed: int) -> list[Row]:
    """Return `num_rows` of the rows in their order, stratified, with at least one per stratum.

    A larger `num_rows` adds rows to those of a smaller one. The choice depends on the texts and
    the seed, not on the order of the rows.
    """
    by_stratum: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_stratum[task.stratum(row)].append(index)
    places: list[tuple[float, int, int]] = []
    for indices in by_stratum.values():
        keys = {index: seed_of(seed, "part", task.text_of(rows[index])) for index in indices}
        for place, index in enumerate(sorted(indices, key=lambda index: (keys[index], index))):
            places.append((place / len(indices), keys[index], index))
    return [rows[index] for index in sorted(index for *_, index in sorted(places)[:num_rows])]


def _choose(groups: Sequence[Sequence[int]], wanted: int) -> list[int]:
    """Return the rows of whole groups, in order, but never of all groups.

    They are at most `wanted` rows, or the smallest group if none fits.
    """
    chosen: list[int] = []
    num_groups_left = len(groups)
    for group in groups:
        if num_groups_left > 1 and len(chosen) + len(group) <= wanted:
            chosen.extend(group)
            num_groups_left -= 1
    if not chosen and num_groups_left > 1:
        chosen.extend(sorted(groups, key=len)[0])
    return chosen
