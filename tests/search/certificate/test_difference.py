"""The interval of a difference over seeds and rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from search.certificate.difference import Scores, difference


def _drawn(rng: np.random.Generator, num_seeds: int, num_rows: int, deviation: float) -> np.ndarray:
    return rng.normal(size=(num_seeds, num_rows)) + deviation * rng.normal(size=(num_seeds, 1))


def test_it_is_the_formula_of_equal_numbers_of_seeds() -> None:
    rng = np.random.default_rng(0)
    one, other = _drawn(rng, 3, 50, 0.3), _drawn(rng, 3, 50, 0.2)
    found = difference(Scores.of(one), Scores.of(other))
    apart = one.mean(0) - other.mean(0)
    over_rows = apart.var(ddof=1) / 50
    over_seeds = (one.mean(1).var(ddof=1) + other.mean(1).var(ddof=1)) / 3
    freedom = (over_rows + over_seeds) ** 2 / (over_rows**2 / 49 + over_seeds**2 / 4)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(over_rows + over_seeds)
    assert found.value == pytest.approx(apart.mean())
    assert found.interval() == pytest.approx((apart.mean() - half, apart.mean() + half))


def test_without_seeds_it_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=40), rng.normal(size=40)
    found = difference(Scores.of(one, is_exact=True), Scores.of(other, is_exact=True))
    expected = stats.ttest_rel(one, other).confidence_interval()
    assert found.interval() == pytest.approx((expected.low, expected.high))


def test_an_exact_side_adds_no_noise_of_seeds() -> None:
    rng = np.random.default_rng(2)
    one, other = _drawn(rng, 4, 30, 0.5), rng.normal(size=30)
    found = difference(Scores.of(one), Scores.of(other, is_exact=True))
    assert found.seed_variance == pytest.approx(one.mean(1).var(ddof=1) / 4)
    assert found.seed_freedom == 3


def test_more_seeds_on_one_side_narrow_it() -> None:
    rng = np.random.default_rng(3)
    one, other = _drawn(rng, 12, 400, 1.0), _drawn(rng, 3, 400, 1.0)
    few = difference(Scores.of(one[:3]), Scores.of(other))
    many = difference(Scores.of(one), Scores.of(other))
    assert many.half_width() < few.half_width()


def test_swapping_the_sides_mirrors_it() -> None:
    rng = np.random.default_rng(4)
    one, other = Scores.of(_drawn(rng, 3, 30, 0.5)), Scores.of(_drawn(rng, 5, 30, 0.5))
    there, back = difference(one, other), difference(other, one)
    assert there.interval() == pytest.approx(tuple(-end for end in reversed(back.interval())))
    assert there.probability == pytest.approx(1 - back.probability)


def test_several_comparisons_widen_it() -> None:
    rng = np.random.default_rng(5)
    found = difference(Scores.of(_drawn(rng, 3, 30, 0.5)), Scores.of(_drawn(rng, 3, 30, 0.5)))
    assert found.half_width(3) > found.half_width()


def test_as_many_rows_as_it_names_would_tell() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(0.1, 1.0, size=100)
    one, other = Scores.of(rows, is_exact=True), Scores.of(np.zeros(100), is_exact=True)
    found = difference(one, other)
    assert found.interval()[0] < 0 < found.interval()[1]
    quantile = found.half_width() / found.error
    half = quantile * math.sqrt(found.row_variance / found.rows_to_tell())
    assert half == pytest.approx(abs(found.value))


def test_seeds_that_vary_more_than_the_two_differ_are_not_cured_by_rows() -> None:
    one, other = Scores.of([[2.0] * 9, [0.0] * 9]), Scores.of([[1.5] * 9, [0.0] * 9])
    assert difference(one, other).rows_to_tell() == math.inf


def test_equal_models_differ_by_nothing() -> None:
    parts = Scores.of([[1.0, 0.0, 1.0]], is_exact=True)
    found = difference(parts, parts)
    assert found.interval() == (0.0, 0.0)
    assert found.probability == 0.5


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ([[1.0, 0.0]], [[1.0, 0.0]] * 2, "at least two seeds"),
        ([[1.0, 0.0]] * 2, [[1.0, 0.0, 1.0]] * 2, "same number of rows"),
        ([[1.0]] * 2, [[0.0]] * 2, "at least two"),
    ],
)
def test_what_has_no_interval_is_refused(
    one: list[list[float]], other: list[list[float]], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        difference(Scores.of(one), Scores.of(other))


def test_it_holds_the_true_difference_where_one_seed_does_not() -> None:
    """1,000 verdicts with 3 seeds whose noise is as large as that of the rows."""
    rng, held, held_by_one = np.random.default_rng(7), 0, 0
    for _ in range(1000):
        one, other = _drawn(rng, 3, 100, 0.1), _drawn(rng, 3, 100, 0.1)
        low, high = difference(Scores.of(one), Scores.of(other)).interval()
        held += low <= 0 <= high
        paired = stats.ttest_rel(one[0], other[0]).confidence_interval()
        held_by_one += paired.low <= 0 <= paired.high
    assert held >= 930
    assert held_by_one < 900
