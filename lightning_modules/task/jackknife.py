"""What each validation row contributes to a metric, so that the noise of a score can be computed.

Of a metric that is a mean, a row's contribution is its own value. Of any other metric it is the
jackknife's pseudo-value: with theta the score of all G groups of rows and theta_(g) that without
group g, p_g = G theta - (G - 1) theta_(g). Their mean estimates the metric, and the variance of
that mean is the variance of the p_g divided by G, as for a mean of values. The contributions of
two trials to the same rows can be subtracted, so a difference of scores has a paired interval.

Paper: Tukey 1958, "Bias and confidence in not-quite large samples", with Quenouille's groups.
Cost: none for a mean; else NUM_GROUPS scores of the observations, no pass through the network.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_modules.error import UserError
from lightning_modules.outcome import RowScores

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.rows.corpus import Row
    from lightning_modules.task.base import Examples, Task

MAX_VALUES = 200
"""Most groups of rows of a mean: they are stored with every trial."""
NUM_GROUPS = 50
"""Groups of rows of any other metric. The interval's width has a relative error of 10 %."""


def row_scores(
    task: Task, observed: Mapping[str, Tensor], examples: Examples, key: str | None = None
) -> RowScores | None:
    """Return the contributions to `task.metric`, of at most `MAX_VALUES` groups of rows.

    None if there are fewer than two scored rows, or if the metric is not defined without some.

    Args:
        task: The task.
        observed: What was kept of the network's outputs.
        examples: The rows.
        key: What `key_of` returns for the rows, if the caller knows it.

    """
    values = task.row_values(observed, examples)
    if values is not None:
        total, number = math.fsum(values), len(values)

        def mean_without(group: Sequence[int]) -> float:
            return (total - math.fsum(values[row] for row in group)) / (number - len(group))

        found = pseudo_values(number, MAX_VALUES, mean_without, total / max(1, number))
    else:
        number, score_of = task.num_scored(observed, examples), task.scorer(observed, examples)

        def score_without(group: Sequence[int]) -> float:
            left_out = set(group)
            kept = [row for row in range(number) if row not in left_out]
            return score_of(kept)

        score = task.scores(observed, examples)[task.metric]
        try:
            found = pseudo_values(number, NUM_GROUPS, score_without, score)
        except (ArithmeticError, ValueError, IndexError, UserError):
            # The metric is not defined for some rows, e.g. all tokens are in one, or one class is
            # missing. A run must not fail for its interval.
            return None
    if not found or not all(map(math.isfinite, found)):
        return None
    return RowScores(key or key_of(examples.rows), tuple(float(f"{value:.7g}") for value in found))


def pseudo_values(
    num_rows: int, max_groups: int, without: Callable[[Sequence[int]], float], score: float
) -> list[float]:
    """Return the pseudo-values of a score; none for fewer than two rows.

    Args:
        num_rows: Number of rows.
        max_groups: Most groups; row r is in group r modulo their number.
        without: Returns the score without some rows.
        score: The score of all rows.

    >>> values = [1.0, 0.0, 0.0, 1.0]
    >>> mean = lambda rows: sum(values[r] for r in range(4) if r not in rows) / (4 - len(rows))
    >>> pseudo_values(4, 10, mean, 0.5)
    [1.0, 0.0, 0.0, 1.0]
    """
    if num_rows < 2:
        return []
    num = min(num_rows, max_groups)
    groups = [range(group, num_rows, num) for group in range(num)]
    return [num * score - (num - 1) * without(group) for group in groups]


def key_of(rows: Sequence[Row]) -> str:
    """Return a text that only equal rows in equal order share."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()[:16]
