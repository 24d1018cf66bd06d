"""How often few rows name the best strategy of a text, even to one who sees every recorded run.

The arms are the strategies as they were recorded, with their own scores. Validation rows are drawn
from the rows that no run saw; the others are the truth. An arm's truth is the accuracy of its best
candidate on these (a candidate is one validation of one run). Named is the arm that has the
candidate with the lowest Brier score on the validation rows. The runs of two arms scored the same
rows, so the error of their difference is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from recorded.replay import Candidates


@dataclass(frozen=True)
class Named:
    """Shares of draws of validation rows, and points.

    Attributes:
        best: Share in which the named arm is the best one.
        within_error: Share in which it is behind by at most two standard errors of the truth.
        far: Share in which it is more than a point behind.
        close_second: Share in which the second-best arm is behind by at most two standard errors.
        lost: Mean points by which the named arm is behind.

    """

    best: float
    within_error: float
    far: float
    close_second: float
    lost: float

    def __str__(self) -> str:
        shares = (self.best, self.within_error, self.far, self.close_second)
        return " ".join(f"{100 * each:5.1f} %" for each in shares) + f" {self.lost:6.2f}"


def named(arms: Sequence[Candidates], num_rows: int, num_draws: int = 400) -> Named:
    """Return what validation rows say of the arms of one text."""
    size = min(len(arm.labels) for arm in arms)
    chance = np.random.default_rng(0)
    draws = [_drawn(arms, chance.permutation(size), num_rows) for _ in range(num_draws)]
    return Named(*map(float, np.mean(draws, axis=0)))


def _drawn(arms: Sequence[Candidates], rows: np.ndarray, num_rows: int) -> tuple[float, ...]:
    seen, true = rows[:num_rows], rows[num_rows:]
    at = int(np.argmin([arm.brier[:, seen].mean(axis=1).min() for arm in arms]))
    answers = [arm.right[:, true] for arm in arms]
    tops = [100 * each[each.mean(axis=1).argmax()] for each in answers]
    order = np.argsort([-each.mean() for each in tops], kind="stable")
    best, second = tops[order[0]], tops[order[1]]
    behind = float((best - tops[at]).mean())
    is_named_close, is_second_close = (_is_noise(best - each) for each in (tops[at], second))
    return behind == 0, is_named_close, behind > 1, is_second_close, behind


def _is_noise(difference: np.ndarray) -> bool:
    """Return whether a mean over rows is at most two of its standard errors."""
    return bool(difference.mean() <= 2 * difference.std() / len(difference) ** 0.5)
