"""The interval of a gain: paired, as wide as it should be, and only from the same rows."""

from __future__ import annotations

import random
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from lightning_modules.outcome import RowScores
from search.storage.attribute import ROW_SCORES
from search.study.gain import Gain, gain_over, half_width, t_quantile


def trial(value: float, scores: RowScores | None = None) -> FrozenTrial:
    attributes: dict[str, Any] = {} if scores is None else {ROW_SCORES: scores.as_dict()}
    return create_trial(state=TrialState.COMPLETE, value=value, system_attrs=attributes)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    chance = random.Random(0)
    before = [chance.gauss(0.5, 1) for _ in range(40)]
    after = [value + chance.gauss(0.1, 0.3) for value in before]
    means = sum(after) / 40, sum(before) / 40
    found = gain_over(
        trial(means[0], RowScores("r", tuple(after))),
        trial(means[1], RowScores("r", tuple(before))),
        sign=1,
    )
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.value == pytest.approx(means[0] - means[1])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-6)


def test_less_loss_is_a_gain() -> None:
    losses = RowScores("r", (0.1, 0.2, 0.3)), RowScores("r", (0.4, 0.6, 0.5))
    found = gain_over(trial(0.2, losses[0]), trial(0.5, losses[1]), sign=-1)
    assert found.value == pytest.approx(0.3)
    assert found.is_clear and found.low is not None and 0 < found.low < 0.3


@pytest.mark.parametrize("other", [None, RowScores("others", (0.0, 1.0))])
def test_without_the_same_rows_there_is_no_interval(other: RowScores | None) -> None:
    found = gain_over(trial(0.6, RowScores("r", (1.0, 0.0))), trial(0.5, other), sign=1)
    assert found == Gain(pytest.approx(0.1)) and not found.is_clear


def test_equal_predictions_are_not_distinguishable() -> None:
    scores = RowScores("r", (1.0, 0.0, 1.0))
    found = gain_over(trial(0.7, scores), trial(0.7, scores), sign=1)
    assert (found.low, found.high) == (0.0, 0.0) and not found.is_clear


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 7, 19, 199])
def test_the_quantile_is_students(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def test_the_interval_holds_the_true_gain_in_95_of_100_studies() -> None:
    chance, num_held = random.Random(1), 0
    for _ in range(1000):
        # 0 or 1 per row, as of accuracy: 0.7 against 0.6, with three of four answers shared.
        pairs = []
        for _ in range(100):
            shared, draw = chance.random() < 0.75, chance.random()
            pairs.append(((draw if shared else chance.random()) < 0.7, draw < 0.6))
        differences = [float(after) - float(before) for after, before in pairs]
        gain, half = sum(differences) / 100, half_width(differences)
        num_held += gain - half <= 0.1 <= gain + half
    assert 930 <= num_held <= 970
