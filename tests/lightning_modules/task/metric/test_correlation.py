from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from lightning_modules.task.metric.correlation import pearson, spearman


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [0.0, 2e6])
def test_the_correlations_equal_those_of_scipy(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 12, 200) / 4 + shift  # with many ties
    other = one + rng.normal(0, 1 + seed, 200).round(1)
    assert pearson(one, other) == pytest.approx(pearsonr(one, other).statistic, abs=1e-9)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_equal_numbers_correlate_with_nothing() -> None:
    rising, same = np.arange(5.0), np.full(5, 0.1)
    assert pearson(same, rising) == spearman(rising, same) == pearson(same, same) == 0
    assert pearson(rising, rising) == spearman(rising, np.exp(rising)) == pytest.approx(1)
    assert pearson(np.array([]), np.array([])) == 0
