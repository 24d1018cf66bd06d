"""How much better one configuration is than another, over seeds and rows at once.

Each configuration was trained with k seeds, and each of its models scored the same n rows. With
p_A,i the mean over A's seeds of what row i contributes to the score, and s_A the standard deviation
of A's scores over its seeds,

    D   = mean_i(p_A,i - p_B,i)
    V_I = var_i(p_A,i - p_B,i) / n
    V_S = s^2 (1 / k_A + 1 / k_B), s^2 pooled from both, with f = k_A + k_B - 2 degrees of freedom
    df  = (V_I + V_S)^2 / (V_I^2 / (n - 1) + V_S^2 / f)

and the interval is D -/+ t(0.975, df) sqrt(V_I + V_S). With k_A = k_B = k, V_S is
(s_A^2 + s_B^2) / k and f is 2 (k - 1). It is the interval of studies in which several readers judge
the same cases, with seeds as the readers (Obuchowski and Rockette 1995; degrees of freedom as
Hillis 2007). The noise that a seed has on single rows is in both variances, so the interval is
slightly too wide.

A row's contribution to a score that is no mean of rows (F1, BLEU, perplexity) is its jackknife
pseudo-value (`lightning_modules.task.jackknife`); a group of rows then takes the place of a row.
`benchmarks/certificate.py` shows the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Scores:
    """What the models of one configuration, one per seed, scored on the rows.

    Attributes:
        parts: What each row, or group of rows, contributes to each model's score, (seeds, rows);
            more is better.
        is_exact: Whether every seed gives the same model, e.g. because nothing is trained. One
            seed is enough then.

    """

    parts: NDArray[np.float64]
    is_exact: bool = False

    @classmethod
    def of(cls, parts: ArrayLike, *, is_exact: bool = False) -> Scores:
        """Return the scores from one sequence per seed."""
        import numpy as np  # no command needs it that only reads certificates

        return cls(np.atleast_2d(np.asarray(parts, dtype=float)), is_exact)

    @property
    def num_seeds(self) -> int:
        return len(self.parts)

    @cached_property
    def by_seed(self) -> NDArray[np.float64]:
        """The score of each seed's model."""
        means: NDArray[np.float64] = self.parts.mean(axis=1)
        return means

    @cached_property
    def squares(self) -> float:
        """Sum of the squared deviations of the seeds' scores from their mean."""
        return 0.0 if self.is_exact else float(((self.by_seed - self.by_seed.mean()) ** 2).sum())

    @property
    def freedom(self) -> int:
        """Degrees of freedom of `squares`."""
        return 0 if self.is_exact else self.num_seeds - 1


@dataclass(frozen=True)
class Difference:
    """A difference of two configurations' scores, with its 95 % interval.

    Attributes:
        value: The difference; > 0 if the first one is better.
        row_variance: V_I, the variance of `value` over the choice of the rows.
        seed_variance: V_S, that over the seeds.
        num_rows: Rows, or groups of rows.
        seed_freedom: Degrees of freedom of `seed_variance`; 0 if neither side has seeds.

    """

    value: float
    row_variance: float
    seed_variance: float
    num_rows: int
    seed_freedom: int

    @property
    def error(self) -> float:
        """The standard error of `value`."""
        return math.sqrt(self.row_variance + self.seed_variance)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of `error`; inf if it is 0."""
        terms = self.row_variance**2 / (self.num_rows - 1)
        if self.seed_freedom:
            terms += self.seed_variance**2 / self.seed_freedom
        return (self.row_variance + self.seed_variance) ** 2 / terms if terms > 0 else math.inf

    def half_width(self, num_comparisons: int = 1) -> float:
        """Return half the width of the interval.

        Args:
            num_comparisons: Number of differences that are looked at together. The intervals hold
                all true values with 95 % probability (Bonferroni).

        """
        if self.error == 0:
            return 0.0
        from scipy.special import stdtrit  # takes longer to import than all the rest

        quantile = 1 - (1 - LEVEL) / (2 * num_comparisons)
        return float(stdtrit(self.freedom, quantile)) * self.error

    def interval(self, num_comparisons: int = 1) -> tuple[float, float]:
        """Return both ends of the interval."""
        half = self.half_width(num_comparisons)
        return self.value - half, self.value + half

    @property
    def probability(self) -> float:
        """The probability, with a flat prior, that the first is better; 0.5 if they are equal."""
        if self.error == 0:
            return 0.5 if self.value == 0 else float(self.value > 0)
        from scipy.special import stdtr

        return float(stdtr(self.freedom, self.value / self.error))

    def rows_to_tell(self, num_comparisons: int = 1) -> float:
        """Return how many times as many rows would part the two if they differ as was measured.

        At most 1 if they are parted; inf if more rows alone would not do, because the seeds vary
        more than the two differ, or because they do not differ.

        Args:
            num_comparisons: As for `half_width`.

        """
        if self.error == 0 or self.value == 0:
            return math.inf if self.value == 0 else 0.0
        quantile = self.half_width(num_comparisons) / self.error
        left = (self.value / quantile) ** 2 - self.seed_variance
        return self.row_variance / left if left > 0 else math.inf

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as plain values, for JSON."""
        low, high = self.interval()
        return {
            "value": self.value,
            "low": low,
            "high": high,
            "level": LEVEL,
            "probability": self.probability,
            "row_variance": self.row_variance,
            "seed_variance": self.seed_variance,
            "num_rows": self.num_rows,
            "seed_freedom": self.seed_freedom,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the difference from the values of `as_dict`."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def difference(one: Scores, other: Scores) -> Difference:
    """Return how much better one configuration scored than another on the same rows.

    Args:
        one: Its models' contributions; at least two seeds, unless it is exact.
        other: Those of the other one, for the same rows in the same order.

    Raises:
        ValueError: The rows differ in number, there are fewer than two, or the noise of seeds is
            unknown because a configuration has one seed and is not exact.

    >>> a = Scores.of([[1, 1, 1, 0], [1, 1, 1, 1]])
    >>> b = Scores.of([[1, 0, 1, 0], [0, 0, 1, 0]])
    >>> round(difference(a, b).value, 3)
    0.5
    """
    num_rows = one.parts.shape[1]
    if num_rows != other.parts.shape[1] or num_rows < 2:
        sizes: Sequence[int] = (num_rows, other.parts.shape[1])
        raise ValueError(f"both must have the same number of rows, at least two, got {sizes}")
    for each in (one, other):
        if each.num_seeds < 2 and not each.is_exact:
            raise ValueError("a configuration needs at least two seeds, got 1")
    apart = one.parts.mean(axis=0) - other.parts.mean(axis=0)
    freedom = one.freedom + other.freedom
    counted = [each for each in (one, other) if each.freedom]
    pooled = sum(each.squares for each in counted) / freedom if freedom else 0.0
    return Difference(
        value=float(apart.mean()),
        row_variance=float(apart.var(ddof=1)) / num_rows,
        seed_variance=pooled * sum(1 / each.num_seeds for each in counted),
        num_rows=num_rows,
        seed_freedom=freedom,
    )


def difference_of_splits(
    ones: Sequence[ArrayLike], others: Sequence[ArrayLike], *, is_exact: bool = False
) -> Difference:
    """Return how much better one configuration scored than another on several splits.

    On each split s both were trained once and scored the same rows, which are others on every
    split: d_s,i is the difference on row i of split s. Then D = mean_s(d_s), V_S = var_s(d_s) / k
    with k - 1 degrees of freedom, and V_I = mean_s(var_i(d_s,i) / n_s). The splits are drawn from
    the same rows, so V_I does not shrink with their number. The noise of the rows is in V_S too, so
    the interval is too wide rather than too narrow.

    Args:
        ones: Its models' contributions by split.
        others: Those of the other one, for the same splits and rows in the same order.
        is_exact: Whether one split is enough, because neither is trained.

    Raises:
        ValueError: There are fewer than two splits or rows, or the rows differ in number.

    """
    import numpy as np

    one, other = ([np.asarray(each, dtype=float) for each in side] for side in (ones, others))
    sizes = [(len(a), len(b)) for a, b in zip(one, other, strict=True)]
    if len(sizes) < (1 if is_exact else 2) or any(a != b or a < 2 for a, b in sizes):
        raise ValueError(f"both need the same rows on at least two splits, got {sizes}")
    apart = [a - b for a, b in zip(one, other, strict=True)]
    means = np.array([each.mean() for each in apart])
    num = len(apart)
    return Difference(
        value=float(means.mean()),
        row_variance=float(np.mean([each.var(ddof=1) / len(each) for each in apart])),
        seed_variance=float(means.var(ddof=1)) / num if num > 1 else 0.0,
        num_rows=min(len(each) for each in apart),
        seed_freedom=num - 1,
    )
