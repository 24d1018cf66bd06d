from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from scipy.stats import multivariate_t

from search.sampler.gaussian.encoding import Encoding
from search.sampler.gaussian.kernel import Kernel, Matrix
from search.sampler.gaussian.posterior import (
    MEAN_VARIANCE,
    SCALE,
    SHAPE,
    Posterior,
    Settings,
    fitted,
)
from tests.search.sampler.gaussian.test_encoding import space_of

KERNEL = Kernel(Encoding(space_of(x=FloatDistribution(0, 1), y=FloatDistribution(0, 1))).axes)
CHANCE = np.random.default_rng(0)
ROWS = CHANCE.random((7, 2))
LOSSES = CHANCE.standard_normal(7)
Z = CHANCE.standard_normal((4, 5))


def matrices(setting: int, rows: Matrix, others: Matrix) -> Matrix:
    settings = Settings(Z[setting : setting + 1])
    distances = KERNEL.distances(rows, others)
    return MEAN_VARIANCE + KERNEL.correlations(distances, settings.log_lengths, settings.weights)[0]


@pytest.mark.parametrize("setting", range(4))
def test_the_posterior_equals_the_formula(setting: int) -> None:
    new = CHANCE.random((5, 2))
    covariance = matrices(setting, ROWS, ROWS) + Settings(Z).noise[setting] * np.eye(7)
    cross, prior = matrices(setting, new, ROWS), matrices(setting, new, new)
    inverse = np.linalg.inv(covariance)
    expected = cross @ inverse @ LOSSES
    scale = (SCALE + 0.5 * LOSSES @ inverse @ LOSSES) / (SHAPE + 3.5)
    variances = scale * np.diagonal(prior - cross @ inverse @ cross.T)
    means, deviations = Posterior(KERNEL, Settings(Z), ROWS, LOSSES).at(new)
    assert means[setting] == pytest.approx(expected)
    assert deviations[setting] ** 2 == pytest.approx(variances)


def test_the_evidence_is_that_of_a_student_t() -> None:
    posterior = Posterior(KERNEL, Settings(Z), ROWS, LOSSES)
    exact = []
    for setting in range(4):
        covariance = matrices(setting, ROWS, ROWS) + Settings(Z).noise[setting] * np.eye(7)
        student = multivariate_t(np.zeros(7), covariance * SCALE / SHAPE, df=2 * SHAPE)
        exact.append(student.logpdf(LOSSES) - 0.5 * (Z[setting] ** 2).sum())
    differences = posterior.log_density - np.array(exact)
    assert differences == pytest.approx(differences[0])  # up to a constant
    assert np.exp(posterior.log_weights).sum() == pytest.approx(1.0)


def test_running_trials_change_no_mean_and_take_uncertainty_away() -> None:
    new, elsewhere = np.array([[0.9, 0.1], [0.2, 0.8]]), CHANCE.random((9, 2))
    before = Posterior(KERNEL, Settings(Z), ROWS, LOSSES)
    after = before.expecting(new)
    assert after.at(new)[0] == pytest.approx(before.at(new)[0])
    assert after.at(elsewhere)[0] == pytest.approx(before.at(elsewhere)[0])
    assert (after.at(elsewhere)[1] <= before.at(elsewhere)[1]).all()
    # Only noise is left: as sure as if they had ended.
    variances = after.at(new)[1] ** 2
    assert (variances < after.noise[:, None]).all()
    assert (after.log_weights == before.log_weights).all()
    assert (after.noise == before.noise).all()


def test_the_fit_finds_which_parameter_matters() -> None:
    rows = CHANCE.random((30, 2))
    posterior = fitted(KERNEL, rows, np.sin(6 * rows[:, 0]) * 1.4, CHANCE.standard_normal((24, 5)))
    lengths = posterior.settings.log_lengths
    assert (lengths[:, 0] < lengths[:, 1]).all()
    new = CHANCE.random((20, 2))
    error = posterior.mean(new) - np.sin(6 * new[:, 0]) * 1.4
    assert np.abs(error).mean() < 0.1
