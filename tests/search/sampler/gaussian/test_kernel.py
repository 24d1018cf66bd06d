from __future__ import annotations

import math

import numpy as np
import pytest

from search.sampler.gaussian.encoding import Encoding
from search.sampler.gaussian.kernel import Kernel, Matrix
from tests.search.sampler.gaussian.test_encoding import arms, space_of

WEIGHTS = np.array([[0.5, 0.3, 0.2]])


def correlations(encoding: Encoding, rows: Matrix) -> Matrix:
    kernel = Kernel(encoding.axes)
    log_lengths = np.log(np.full((1, kernel.num_lengths), 0.5))
    return kernel.correlations(kernel.distances(rows, rows), log_lengths, WEIGHTS)[0]


def matern(r: float) -> float:
    return (1 + math.sqrt(5) * r + 5 / 3 * r**2) * math.exp(-math.sqrt(5) * r)


def test_numbers_and_categories_have_the_correlations_of_the_formula() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    encoding = Encoding(space_of(x=FloatDistribution(0, 1), y=CategoricalDistribution(("a", "b"))))
    rows = np.array([[0.1, 0], [0.4, 0], [0.1, 1]])
    k = correlations(encoding, rows)
    assert k[0, 1] == pytest.approx(matern(0.3 / 0.5))
    assert k[0, 2] == pytest.approx(matern(1 / 0.5))


def test_parameters_of_other_arms_do_not_count() -> None:
    encoding = Encoding(arms())
    shared = {"data.batch_size": 8, "trainer.epochs": 2}
    lora = {"strategy": "lora", **shared}
    params = [
        {**lora, "optimizer.lr[lora]": 1e-3, "strategy.rank": 4},
        {**lora, "optimizer.lr[lora]": 5e-3, "strategy.rank": 16},
        {"strategy": "full", **shared, "optimizer.lr[full]": 1e-4},
    ]
    k = correlations(encoding, np.array([encoding.row(each) for each in params]))
    assert np.diagonal(k) == pytest.approx(1.0)
    assert k[0, 2] == k[1, 2] == pytest.approx(0.5)  # the shared function alone
    assert 0.8 < k[0, 1] < 1.0  # shared, and the arm's


@pytest.mark.parametrize("seed", range(5))
def test_the_matrix_of_any_rows_is_positive(seed: int) -> None:
    encoding = Encoding(arms())
    fractions = np.random.default_rng(seed).random((60, len(encoding.axes)))
    rows = encoding.snapped(encoding.drawn(fractions))
    assert np.linalg.eigvalsh(correlations(encoding, rows)).min() > -1e-9
