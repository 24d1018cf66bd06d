from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lightning_modules.error import ConfigError
from search.pruner.base import ComparingPruner, Progress, Pruner
from search.pruner.median import Median


def progress(values: Mapping[int, float], stable: int = 1000, length: int = 1000) -> Progress:
    return Progress(values, stable, length)


class Spy(ComparingPruner):
    """Ends every trial; the reason names the values it was compared with."""

    def verdict(self, value: float, rivals: Sequence[float], number: int) -> str | None:
        return f"{value} against {list(rivals)} at {number}"


@pytest.mark.parametrize(
    ("other", "examples", "same"),
    [
        (progress({}, stable=100, length=200), 100, True),
        (progress({}, stable=100, length=200), 101, False),
        (progress({}, stable=80, length=100), 80, True),
        (progress({}, stable=80, length=100), 90, False),
        (progress({}, stable=0, length=400), 350, True),
        (progress({}, stable=320, length=400), 400, True),
    ],
    ids=[
        "longer and both stable",
        "longer and one decayed",
        "shorter and both stable",
        "shorter and decayed",
        "equal length, never stable",
        "equal length, both decayed",
    ],
)
def test_only_stable_or_equally_long_trials_are_comparable(
    other: Progress, examples: int, same: bool
) -> None:
    trial = progress({}, stable=320, length=400)
    assert trial.comparable(other, examples) is same
    assert other.comparable(trial, examples) is same


def test_rivals_are_the_comparable_values_at_the_same_examples() -> None:
    trial = progress({50: 0.1, 100: 0.2}, stable=160, length=200)
    others = [
        progress({50: 0.5, 100: 0.6}, stable=160, length=200),
        progress({100: 0.7}, stable=320, length=400),
        progress({50: 0.8}, stable=160, length=200),
        progress({100: 0.9}, stable=80, length=100),
    ]
    reason = Spy(min_finished=1).reason_to_stop(trial, 2, others, num_finished=1)
    assert reason == "0.2 against [0.6, 0.7] at 2"


@pytest.mark.parametrize(("num_finished", "ends"), [(0, False), (3, False), (4, True)])
def test_nothing_is_pruned_before_enough_have_finished(num_finished: int, ends: bool) -> None:
    reason = Spy(min_finished=4).reason_to_stop(progress({10: 0.1}), 1, [], num_finished)
    assert (reason is not None) is ends


def test_a_completed_trial_is_not_pruned() -> None:
    trial = progress({500: 0.1, 1000: 0.1}, length=1000)
    assert Spy(min_finished=1).reason_to_stop(trial, 2, [], 9) is None


def test_base_pruner_ends_nothing() -> None:
    rivals = [progress({10: 0.9})] * 9
    assert Pruner().reason_to_stop(progress({10: 0.1}), 1, rivals, 9) is None


def test_min_finished_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="min_finished: must be > 0, got 0"):
        Median(min_finished=0)
