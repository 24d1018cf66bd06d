from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from search.sampler.gaussian.acquisition import (
    Acquisition,
    Prior,
    _near,
    log_expected_improvement,
    log_worth,
    maximized,
)
from search.sampler.gaussian.encoding import Encoding
from search.sampler.gaussian.kernel import Kernel
from search.sampler.gaussian.posterior import Posterior, Settings
from tests.search.sampler.gaussian.test_encoding import arms, space_of

ENCODING = Encoding(space_of(x=FloatDistribution(0, 1), y=FloatDistribution(0, 1)))
KERNEL = Kernel(ENCODING.axes)
NONE = np.empty((0, 2))
NO_PRIOR = Prior(NONE, 0.0)


@pytest.mark.parametrize(("mean", "deviation"), [(0.3, 0.5), (-1.0, 0.2), (1.0, 0.5)])
def test_expected_improvement_equals_monte_carlo(mean: float, deviation: float) -> None:
    draws = mean + deviation * np.random.default_rng(0).standard_normal(1_000_000)
    drawn = np.maximum(0.2 - draws, 0.0).mean()
    exact = np.exp(log_expected_improvement(np.array(mean), np.array(deviation), np.array(0.2)))
    assert exact == pytest.approx(drawn, rel=0.02)


def test_it_stays_finite_and_falls_far_from_the_optimum() -> None:
    z = -np.array([0.5, 0.999, 1.001, 5.0, 40.0, 900.0, 1500.0])
    values = log_expected_improvement(-z, np.ones(7), np.zeros(7))
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()
    assert values[1] == pytest.approx(values[2], abs=1e-2)
    # The tail of h: log phi(z) - 2 log |z|.
    tail = -0.5 * z[4] ** 2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(40)
    assert values[4] == pytest.approx(tail, abs=1e-2)


def posterior_of(rows: np.ndarray, losses: np.ndarray) -> Posterior:
    return Posterior(KERNEL, Settings(np.zeros((1, 5))), rows, losses)


ROWS = np.random.default_rng(1).random((12, 2))
BOWL = ((ROWS - 0.4) ** 2).sum(axis=1)


def test_the_maximum_beats_a_grid() -> None:
    posterior = posterior_of(ROWS, (BOWL - BOWL.mean()) / BOWL.std())
    acquisition = Acquisition(posterior, KERNEL, NO_PRIOR, ROWS)
    free = np.full(2, np.nan)
    chance = np.random.default_rng(2)
    row = maximized(acquisition, ENCODING, ROWS[:3], ROWS, free, chance)
    assert row is not None
    axis = np.linspace(0, 1, 60)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert acquisition(row[None])[0] > acquisition(grid).max() - 0.02


def test_given_values_stay() -> None:
    acquisition = Acquisition(posterior_of(ROWS, BOWL), KERNEL, NO_PRIOR, ROWS)
    fixed = np.array([np.nan, 0.77])
    row = maximized(acquisition, ENCODING, ROWS[:3], ROWS, fixed, np.random.default_rng(0))
    assert row is not None and row[1] == 0.77


def test_nothing_is_left_if_all_rows_are_taken() -> None:
    acquisition = Acquisition(posterior_of(ROWS, BOWL), KERNEL, NO_PRIOR, ROWS)
    fixed = np.array([0.5, 0.5])
    chance = np.random.default_rng(0)
    assert maximized(acquisition, ENCODING, ROWS[:3], fixed[None], fixed, chance) is None


def test_the_prior_is_normal_around_the_default_and_fades() -> None:
    prior = Prior(np.array([[0.5, 0.5]]), strength=2.0, spread=0.25)
    rows = np.array([[0.5, 0.5], [0.75, 0.5], [1.0, 0.25]])
    assert prior.log_density(KERNEL, rows) == pytest.approx([0.0, -1.0, -5.0])
    weaker = Prior(prior.centres, strength=0.2, spread=0.25)
    assert weaker.log_density(KERNEL, rows) == pytest.approx([0.0, -0.1, -0.5])


def test_what_is_far_from_the_default_is_no_less_likely_than_two_deviations() -> None:
    prior = Prior(np.array([[0.0, 0.5]]), strength=1.0, spread=0.2)
    rows = np.array([[0.4, 0.5], [0.6, 0.5], [1.0, 0.5]])
    assert prior.log_density(KERNEL, rows) == pytest.approx([-2.0, -2.0, -2.0])
    choices = Encoding(space_of(x=CategoricalDistribution(("a", "b", "c"))))
    prior = Prior(np.array([[0.0]]), strength=1.0)
    density = prior.log_density(Kernel(choices.axes), np.array([[0.0], [1.0], [2.0]]))
    assert density == pytest.approx([0.0, -2.0, -2.0])


def test_what_is_below_the_noise_is_worth_little() -> None:
    ratios = np.array([1e-12, 0.01, 1.0, 1e6])  # sigma^2 / tau^2
    exact = 1.0 - 1.0 / np.sqrt(1.0 + ratios)
    assert np.exp(log_worth(ratios[1:])) == pytest.approx(exact[1:])
    assert np.exp(log_worth(ratios[:1])) == pytest.approx(5e-13)  # where 1 - 1 / root is 0


def test_a_given_arm_is_drawn_all_over() -> None:
    encoding, chance = Encoding(arms()), np.random.default_rng(0)
    rate = [axis.name for axis in encoding.axes].index("optimizer.lr[full]")
    fixed = np.array(encoding.row({"strategy": "full"}))
    rows = encoding.drawn(chance.random((200, len(encoding.axes))))
    other = np.array(encoding.row({"strategy": "lora"}))
    centres = encoding.snapped(encoding.drawn(chance.random((3, len(encoding.axes)))), other)
    for made in (rows, _near(centres, encoding, 0.01, chance)):
        found = encoding.snapped(made, fixed)
        assert len(set(found[:, rate])) == len(found)
        assert found[:, rate].min() < 0.1 and found[:, rate].max() > 0.9


def test_each_arm_has_its_own_default() -> None:
    encoding = Encoding(arms())
    fractions = np.random.default_rng(0).random((40, len(encoding.axes)))
    rows = encoding.snapped(encoding.drawn(fractions))
    lora, full = rows[rows[:, 0] == 0], rows[rows[:, 0] == 1]
    prior = Prior(lora[:1], strength=1.0)
    kernel = Kernel(encoding.axes)
    assert prior.log_density(kernel, lora)[0] == 0.0
    assert (prior.log_density(kernel, lora)[1:] < 0).all()
    assert (prior.log_density(kernel, full) == 0).all()
