"""How much better one trial scored than another, with a confidence interval.

Both trials scored the same validation rows, so the interval is paired: with d_g the difference of
what group g of rows contributes to the two scores (`lightning_modules.task.jackknife`) and s their
standard deviation over G groups, the interval is gain -/+ t s / sqrt(G), where t is the 97.5 %
quantile of Student's distribution with G - 1 degrees of freedom.

It covers the choice of the validation rows. It covers neither the seed nor the fact that a winner
was chosen on these rows, which makes its gain look larger than it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import RowScores
from search.storage.attribute import ROW_SCORES

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEVEL = 0.95
CAUTION = 2.0
"""Standard errors by which a trial must be ahead of the default to be chosen in its place, by a
cautious rule or on fresh splits (`benchmarks/selection.py`)."""


@dataclass(frozen=True)
class Gain:
    """How much better a trial's metric is than the default configuration's.

    Attributes:
        value: The difference of the metrics on the validation rows; > 0 is better, also for a
            metric that is minimized.
        low: Lower end of the 95 % interval; None if what each row contributed was not kept, or if
            the seed is searched.
        high: Its upper end.
        is_of_means: Whether the metrics are means over the seeds.

    """

    value: float
    low: float | None = None
    high: float | None = None
    is_of_means: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether the interval is known and does not hold 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def as_dict(self) -> dict[str, Any]:
        """Return the gain as plain values, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "level": LEVEL}


def gain_over(trial: FrozenTrial, default: FrozenTrial, sign: int) -> Gain:
    """Return the gain of a finished trial's first objective over that of `default`.

    Args:
        trial: The trial.
        default: The trial to compare it with.
        sign: 1 if more is better, else -1.

    """
    value = sign * (trial.values[0] - default.values[0])
    one, other = _scores(trial, ROW_SCORES), _scores(default, ROW_SCORES)
    if one is None or other is None or one.rows != other.rows:
        return Gain(value)
    pairs = zip(one.values, other.values, strict=True)
    half = half_width([after - before for after, before in pairs])
    return Gain(value, value - half, value + half)


def gain_of_means(
    trials: Collection[FrozenTrial], defaults: Collection[FrozenTrial], sign: int
) -> Gain:
    """Return the gain of a configuration's mean over that of the default one.

    Args:
        trials: The configuration's finished trials, one per seed.
        defaults: Those of the default configuration.
        sign: 1 if more is better, else -1.

    """
    one, other = (fmean(trial.values[0] for trial in group) for group in (trials, defaults))
    return Gain(sign * (one - other), is_of_means=True)


def is_within_error(trial: FrozenTrial, default: FrozenTrial, name: str) -> bool:
    """Return whether a trial's loss is at most `CAUTION` standard errors below that of `default`.

    Args:
        trial: The trial.
        default: The trial to compare it with.
        name: The attribute with what each row contributes to the loss; without it in both trials
            the answer is False.

    """
    gains = differences(default, trial, name)
    return gains is not None and fmean(gains) <= CAUTION * standard_error(gains)


def paired_error(one: FrozenTrial, other: FrozenTrial, name: str = ROW_SCORES) -> float | None:
    """Return the standard error of the difference of two trials' scores on the same rows.

    None if that was not kept, or if the two scored different rows.

    Args:
        one: A trial.
        other: Another one.
        name: The attribute with what each row contributes to the score, by default to the metric.

    """
    found = differences(one, other, name)
    return None if found is None else standard_error(found)


def is_apart(one: FrozenTrial, other: FrozenTrial, name: str) -> bool:
    """Return whether the scores of two trials differ by more than their noise.

    That is whether the 95 % interval of their paired difference does not hold 0.

    Args:
        one: A trial.
        other: The other one; the trial itself is not apart from itself.
        name: The attribute with what each row contributes to the score; without it in both trials
            the noise is unknown, and the answer is False.

    """
    found = differences(one, other, name)
    return found is not None and is_beyond_noise(found)


def differences(one: FrozenTrial, other: FrozenTrial, name: str) -> list[float] | None:
    """Return how much more each row contributes to one trial's score than to the other's.

    None if that was not kept, or if the two scored different rows.

    Args:
        one: A trial.
        other: Another one.
        name: The attribute with what each row contributes to the score.

    """
    ones, others = _scores(one, name), _scores(other, name)
    if ones is None or others is None or ones.rows != others.rows:
        return None
    return [a - b for a, b in zip(ones.values, others.values, strict=True)]


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two values."""
    return stdev(values) / math.sqrt(len(values))


def is_beyond_noise(values: Sequence[float]) -> bool:
    """Return whether the 95 % interval of the mean of at least two values does not hold 0.

    >>> is_beyond_noise([0.1, 0.2, 0.1, 0.2]), is_beyond_noise([0.1, -0.2, 0.1, 0.2])
    (True, False)
    """
    return abs(fmean(values)) > half_width(values)


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of the mean of at least two values.

    >>> round(half_width([0.0, 1.0, 0.0, 1.0, 0.0]), 4)
    0.6801
    """
    return t_quantile(len(values) - 1) * standard_error(values)


FEW = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706}
"""The 97.5 % quantile of Student's distribution by its degrees of freedom."""


def t_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution, within 0.01 %.

    From 6 degrees on by its expansion in 1 / freedom (Abramowitz and Stegun 1964, 26.7.5):
    importing scipy would take longer than all the rest.

    >>> round(t_quantile(1), 2), round(t_quantile(9), 3), round(t_quantile(199), 3)
    (12.71, 2.262, 1.972)
    """
    if freedom in FEW:
        return FEW[freedom]
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    powers = (float(freedom) ** power for power in range(1, 5))
    return z + sum(term / each for term, each in zip(terms, powers, strict=True))


def _scores(trial: FrozenTrial, name: str) -> RowScores | None:
    kept = trial.system_attrs.get(name)
    return None if kept is None else RowScores.from_dict(kept)
