"""Score by number of training rows: a table, a small curve, and whether more rows would help.

The verdict compares the last gain with its standard error. An accuracy p on n validation rows has
the standard error sqrt(p (1 - p) / n); a difference has the root of the sum of both squares, as if
the two had been measured on separate rows. On the same rows it is smaller, so the verdict is
conservative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from search.plan.plan import Plan
from search.report.text import columns, score
from search.study.study import Study

PATH = "data.max_train_rows"
WIDTH = 30  # characters of the curve
SURE = 2.0  # standard errors


def size_notes(plan: Plan, num_train: int) -> Iterator[str]:
    """Yield a note on searched sizes that use all `num_train` training rows."""
    if plan.default_values.get(PATH) is not None:  # the default is already a subset
        return
    ranges = {arm[PATH].values for arm in plan.space.arms.values() if PATH in arm}
    listed = sorted({size for values in ranges for size in values or () if size is not None})
    sizes = [f"{size}" for size in listed if size >= num_train]
    if sizes:
        uses = "uses" if len(sizes) == 1 else "use"
        yield f"{PATH}={', '.join(sizes)} {uses} all {num_train} rows, like trial 0"


def curve_lines(study: Study, num_train: int, num_validation: int) -> list[str]:
    """Return the learning curve of a study that varies the training rows; else nothing.

    Args:
        study: The study.
        num_train: Number of all training rows.
        num_validation: Number of validation rows.

    """
    if PATH not in study.plan.space.paths:
        return []
    objective = study.plan.objectives[0]
    best: dict[int, float] = {}
    for trial in study.ranking:  # the best trial of each size comes first
        limit = study.params_of(trial).get(PATH)
        num_rows = num_train if limit is None else min(int(limit), num_train)
        best.setdefault(num_rows, trial.values[0])
    points = sorted(best.items())
    if len(points) < 2:
        return []
    is_share = objective.short == "accuracy"
    return [
        "",
        *_drawn(points, objective.short),
        more_rows(points, objective.short, objective.sign, num_validation if is_share else None),
    ]


def more_rows(
    points: Sequence[tuple[int, float]], metric: str, sign: int, num_validation: int | None
) -> str:
    """Return whether more training rows would help.

    Args:
        points: Training rows and score, fewest rows first.
        metric: The score's name.
        sign: 1 if higher is better, else -1.
        num_validation: Number of validation rows, if the score is a fraction of them.

    >>> more_rows([(100, 0.70), (200, 0.80)], "accuracy", 1, 1000)
    'More rows would help: accuracy gained 0.1000 from 100 to 200 rows (5.2 standard errors).'
    """
    (fewer, before), (most, last) = points[-2:]
    gain = sign * (last - before)
    gained = f"{metric} gained {gain:.4f} from {fewer:,} to {most:,} rows"
    if num_validation is None:
        return (
            f"Unclear whether more rows would help: {gained}, and {metric} has no standard error."
        )
    error = math.sqrt(sum(p * (1 - p) for p in (before, last)) / num_validation)
    if not error:  # two scores of 0 or 1
        helps = "would help" if gain > 0 else "are unlikely to help much"
        return f"More rows {helps}: {gained}."
    errors = gain / error
    if errors >= SURE:
        return f"More rows would help: {gained} ({errors:.1f} standard errors)."
    if gain > 0:
        return f"More rows may help: {gained} (only {errors:.1f} standard errors)."
    return f"More rows are unlikely to help much: {gained} ({errors:.1f} standard errors)."


def _drawn(points: Sequence[tuple[int, float]], metric: str) -> list[str]:
    low, high = min(value for _, value in points), max(value for _, value in points)
    table = [["rows", metric, ""]]
    for num_rows, value in points:
        share = (value - low) / (high - low) if high > low else 1.0
        table.append([f"{num_rows:,}", score(value), "#" * (1 + round(share * (WIDTH - 1)))])
    return columns(table)
