"""Score by number of training rows: a table, a small curve, and whether more rows would help.

The verdict compares the last gain with its standard error. Both sizes were scored on the same rows,
so the error is that of the paired difference (`search.study.gain`). Of trials that kept no score of
each row, an accuracy p on n validation rows has the standard error sqrt(p (1 - p) / n), and a
difference the root of the sum of both squares, as if the two had been measured on separate rows:
this is larger, so the verdict is conservative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from search.config.length import ROWS
from search.plan.plan import Plan
from search.report.text import columns, score
from search.study.gain import paired_error
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

WIDTH = 30  # characters of the curve
SURE = 2.0  # standard errors


def size_notes(plan: Plan, num_train: int) -> Iterator[str]:
    """Yield a note on searched sizes that use all `num_train` training rows."""
    if plan.default_values.get(ROWS) is not None:  # the default is already a subset
        return
    ranges = {arm[ROWS].values for arm in plan.space.arms.values() if ROWS in arm}
    listed = sorted({size for values in ranges for size in values or () if size is not None})
    sizes = [f"{size}" for size in listed if size >= num_train]
    if sizes:
        uses = "uses" if len(sizes) == 1 else "use"
        yield f"{ROWS}={', '.join(sizes)} {uses} all {num_train} rows, like trial 0"


def curve_lines(study: Study, num_train: int, num_validation: int) -> list[str]:
    """Return the learning curve of a study that varies the training rows; else nothing.

    Args:
        study: The study.
        num_train: Number of all training rows.
        num_validation: Number of validation rows.

    """
    if ROWS not in study.plan.space.paths:
        return []
    objective = study.plan.objectives[0]
    best: dict[int, FrozenTrial] = {}
    for trial in study.ranking.trials:  # the best trial of each size comes first
        limit = study.params_of(trial).get(ROWS)
        num_rows = num_train if limit is None else min(int(limit), num_train)
        best.setdefault(num_rows, trial)
    points = [(num_rows, trial.values[0]) for num_rows, trial in sorted(best.items())]
    if len(points) < 2:
        return []
    before, last = (best[num_rows] for num_rows, _ in points[-2:])
    error = paired_error(last, before)
    if error is None and objective.short == "accuracy":
        error = _unpaired_error([value for _, value in points[-2:]], num_validation)
    verdict = more_rows(points, objective.short, objective.sign, error)
    return ["", *_drawn(points, objective.short), verdict]


def more_rows(
    points: Sequence[tuple[int, float]], metric: str, sign: int, error: float | None
) -> str:
    """Return whether more training rows would help.

    Args:
        points: Training rows and score, fewest rows first.
        metric: The score's name.
        sign: 1 if higher is better, else -1.
        error: The standard error of the last gain; None if it is unknown.

    >>> more_rows([(100, 0.70), (200, 0.80)], "accuracy", 1, 0.02)
    'More rows would help: accuracy gained 0.1000 from 100 to 200 rows (5.0 standard errors).'
    """
    (fewer, before), (most, last) = points[-2:]
    gain = sign * (last - before)
    gained = f"{metric} gained {gain:.4f} from {fewer:,} to {most:,} rows"
    if error is None:
        return f"Unclear whether more rows would help: {gained}, and its standard error is unknown."
    if not error:  # two scores of 0 or 1, or equal ones on every row
        helps = "would help" if gain > 0 else "are unlikely to help much"
        return f"More rows {helps}: {gained}."
    errors = gain / error
    if errors >= SURE:
        return f"More rows would help: {gained} ({errors:.1f} standard errors)."
    if gain > 0:
        return f"More rows may help: {gained} (only {errors:.1f} standard errors)."
    return f"More rows are unlikely to help much: {gained} ({errors:.1f} standard errors)."


def _unpaired_error(shares: Sequence[float], num_rows: int) -> float:
    """Return the standard error of the difference of two shares of `num_rows` rows each.

    >>> round(_unpaired_error([0.7, 0.8], 1000), 4)
    0.0192
    """
    return math.sqrt(sum(p * (1 - p) for p in shares) / num_rows)


def _drawn(points: Sequence[tuple[int, float]], metric: str) -> list[str]:
    low, high = min(value for _, value in points), max(value for _, value in points)
    table = [["rows", metric, ""]]
    for num_rows, value in points:
        share = (value - low) / (high - low) if high > low else 1.0
        table.append([f"{num_rows:,}", score(value), "#" * (1 + round(share * (WIDTH - 1)))])
    return columns(table)
