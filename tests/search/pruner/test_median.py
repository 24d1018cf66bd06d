from __future__ import annotations

import pytest

from search.pruner.median import Median
from search.pruner.progress import LOSS, Axis

MEDIAN = Median(compare=[LOSS], at_equal=Axis.steps, min_fraction=0.0, min_finished=1)


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
    assert (MEDIAN.verdict(value, rivals) is not None) is ends


def test_the_reason_names_the_number_of_trials() -> None:
    reason = MEDIAN.verdict(0.1, [0.2, 0.3])
    assert reason == "below the median of 2 trials"
