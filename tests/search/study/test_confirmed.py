"""Which of the trials that were trained again is the best."""

from __future__ import annotations

import json

import pytest

from search.study.confirmed import Confirmed, decide

DEFAULT = [[0.5], [0.6], [0.7]]


@pytest.mark.parametrize(
    ("differences", "best"),
    [
        ((0.1, 0.1, 0.1), 4),
        ((0.2, 0.1, 0.03), 4),  # 2.24 standard errors ahead
        ((0.2, 0.1, 0.0), 0),  # 1.73
        ((0.0, 0.0, 0.0), 0),
        ((-0.1, -0.1, -0.1), 0),
    ],
)
def test_the_default_stays_unless_a_trial_is_clearly_ahead(
    differences: tuple[float, ...], best: int
) -> None:
    costs = [[of_default[0] - each] for of_default, each in zip(DEFAULT, differences, strict=True)]
    assert decide({0: DEFAULT, 4: costs}, default=0).best == best


def test_the_least_mean_is_compared_with_the_default() -> None:
    costs = {4: [[0.4], [0.5], [0.6]], 0: DEFAULT, 7: [[0.2], [0.4], [0.5]]}
    decision = decide(costs, default=0)
    assert (decision.best, decision.ahead) == (7, 7)
    assert decision.gain == pytest.approx(0.7 / 3)
    assert decision.error == pytest.approx(0.1 / 3)


def test_the_noise_of_the_rows_counts_where_the_splits_agree_by_luck() -> None:
    costs = {4: [[each[0] - 0.1] for each in DEFAULT], 0: DEFAULT}
    assert decide(costs, 0, {4: 0.049}).best == 4
    assert decide(costs, 0, {4: 0.051}).best == 0
    assert decide(costs, 0, {4: 0.051}).error == 0.051


def test_without_a_default_the_least_mean_is_the_best() -> None:
    decision = decide({4: DEFAULT, 7: [[0.5], [0.6], [0.6]]}, default=None)
    assert (decision.best, decision.gain) == (7, None)


def test_equal_means_are_decided_by_the_next_score() -> None:
    costs = {4: [[0.5, -0.8], [0.6, -0.8]], 7: [[0.5, -0.9], [0.6, -0.9]]}
    assert decide(costs, default=None).best == 7


def test_only_trials_with_a_result_on_every_split_count() -> None:
    full = {"log_loss": 0.5, "accuracy": 0.75}
    runs = {0: {1: full, 2: full}, 3: {1: full, 2: None}, 5: {1: full}, 6: {1: full, 2: {}}}
    confirmed = Confirmed("split", 12, runs, {3: {1: 0.3, 2: 0.4}, 5: {1: 0.3}})
    signs = {"log_loss": -1, "accuracy": 1}
    assert confirmed.costs([0, 3, 5, 6, 9], [1, 2], signs) == {0: [[0.5, -0.75], [0.5, -0.75]]}
    assert confirmed.costs([0, 3], [1], signs).keys() == {0, 3}
    assert confirmed.row_errors([1, 2]) == {3: 0.25}
    assert Confirmed.from_dict(json.loads(json.dumps(confirmed.as_dict()))) == confirmed
