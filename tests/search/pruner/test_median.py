from __future__ import annotations

import pytest

from search.pruner.median import Median


@pytest.mark.parametrize(
    ("value", "rivals", "ends"),
    [
        (0.1, [], False),
        (0.1, [0.2], True),
        (0.2, [0.2], False),
        (0.4, [0.1, 0.5, 0.9], True),
        (0.5, [0.1, 0.5, 0.9], False),
        (0.29, [0.2, 0.4], True),
        (0.31, [0.2, 0.4], False),
    ],
)
def test_a_trial_below_the_median_ends(value: float, rivals: list[float], ends: bool) -> None:
    assert (Median(min_finished=1).verdict(value, rivals, 1) is not None) is ends


def test_the_reason_names_the_number_of_trials_and_the_validation() -> None:
    reason = Median(min_finished=1).verdict(0.1, [0.2, 0.3], 4)
    assert reason == "below the median of 2 trials after validation 4"
