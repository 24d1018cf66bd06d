from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.sampler.sobol import sobol_point, value_at


def test_sixteen_points_fall_into_sixteen_cells() -> None:
    points = [sobol_point(3, number, 5) for number in range(16)]
    for axis in range(3):
        assert {int(point[axis] * 16) for point in points} == set(range(16))


def test_another_seed_gives_other_points() -> None:
    assert (sobol_point(2, 3, 0) != sobol_point(2, 3, 1)).all()


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (FloatDistribution(2, 4), [2.0, 3.0, pytest.approx(4, abs=1e-6)]),
        (FloatDistribution(1e-4, 1e-2, log=True), [pytest.approx(10.0**at) for at in (-4, -3, -2)]),
        (FloatDistribution(0, 0.3, step=0.1), [0.0, 0.2, 0.3]),
        (IntDistribution(1, 3), [1, 2, 3]),
        (IntDistribution(2, 8, step=3), [2, 5, 8]),
        (IntDistribution(1, 100, log=True), [1, 7, 100]),
        (CategoricalDistribution(("a", "b", "c")), ["a", "b", "c"]),
    ],
)
def test_ends_and_middle_of_a_range(distribution: BaseDistribution, expected: list[Any]) -> None:
    assert [value_at(distribution, fraction) for fraction in (0.0, 0.5, 1 - 1e-9)] == expected


def test_whole_numbers_get_equal_parts() -> None:
    drawn = Counter(value_at(IntDistribution(1, 3), at / 300) for at in range(300))
    assert drawn == {1: 100, 2: 100, 3: 100}
