"""What an arm tries after its default."""

from __future__ import annotations

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.plan.opening import LEARNING_RATE, is_near, opening
from search.space.space import Parameter


def rates(default: float, distribution: BaseDistribution) -> list[float]:
    arm = {LEARNING_RATE: Parameter("optimizer.lr[lora]", LEARNING_RATE, "", distribution)}
    return [each[LEARNING_RATE] for each in opening({LEARNING_RATE: default}, arm)]


@pytest.mark.parametrize(
    ("default", "distribution", "expected"),
    [
        (1e-3, FloatDistribution(1e-4, 1e-2, log=True), [3e-3, 3.33e-4]),
        (1e-3, FloatDistribution(5e-4, 2e-3, log=True), [2e-3, 5e-4]),
        (1e-3, FloatDistribution(1e-4, 1.2e-3, log=True), [3.33e-4]),  # the end is near
        (1e-2, FloatDistribution(1e-4, 1e-3, log=True), [1e-3]),  # the default lies outside
        (1e-3, FloatDistribution(0.0, 1e-2), [3e-3, 3.33e-4]),
        (1e-3, CategoricalDistribution((1e-4, 2e-4, 1e-3, 2e-3, 1e-2)), [2e-3, 2e-4]),
        (1e-3, CategoricalDistribution((1e-3,)), []),
    ],
)
def test_a_learning_rate_times_three_and_divided_by_three_lies_in_its_range(
    default: float, distribution: BaseDistribution, expected: list[float]
) -> None:
    assert rates(default, distribution) == expected


def test_other_settings_keep_defaults_that_lie_in_their_range() -> None:
    distributions = {
        LEARNING_RATE: FloatDistribution(1e-4, 1e-2, log=True),
        "data.batch_size": CategoricalDistribution((8, 16)),
        "trainer.epochs": IntDistribution(1, 3),
    }
    arm = {path: Parameter(path, path, "", each) for path, each in distributions.items()}
    default = {"strategy": "lora", LEARNING_RATE: 1e-3, "data.batch_size": 16, "trainer.epochs": 4}
    kept = {"strategy": "lora", "data.batch_size": 16}
    assert opening(default, arm) == (
        {**kept, LEARNING_RATE: 3e-3},
        {**kept, LEARNING_RATE: 3.33e-4},
    )


def test_an_arm_that_searches_no_learning_rate_has_no_opening() -> None:
    arm = {
        "trainer.epochs": Parameter("trainer.epochs", "trainer.epochs", "", IntDistribution(1, 3))
    }
    assert opening({"trainer.epochs": 2}, arm) == ()


def test_rates_are_near_below_a_factor_of_one_and_a_half() -> None:
    assert is_near(1e-3, 1.4e-3) and is_near(1.4e-3, 1e-3)
    assert not is_near(1e-3, 1.6e-3)
