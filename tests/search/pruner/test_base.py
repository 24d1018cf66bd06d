from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lightning_modules.error import ConfigError
from search.pruner.asha import Asha
from search.pruner.base import Pruner, RankingPruner
from search.pruner.median import Median
from search.pruner.progress import LOSS, METRIC, Axis, Mark, Progress

LEVEL = 0.7


def progress(
    number: int, *losses: float, batch_size: int = 8, length: int = 80, metric: float = 0.5
) -> Progress:
    """Return a trial of 8 rows, validated after each epoch; its schedule never decays."""
    marks = [
        Mark(8 * epoch // batch_size, 8 * epoch, epoch, {LOSS: -loss, METRIC: metric})
        for epoch, loss in enumerate(losses, 1)
    ]
    return Progress(number, marks, length, length)


def finished(number: int, *losses: float) -> Progress:
    return progress(number, *losses, length=8 * len(losses))


class Spy(RankingPruner):
    """Ends every trial; the reason names the values it was compared with."""

    def verdict(self, value: float, rivals: Sequence[float]) -> str | None:
        return f"{value:g} against {[round(rival, 3) for rival in rivals]}"


def spy(min_finished: int = 1, *, min_fraction: float = 0.0, at_equal: Axis = Axis.steps) -> Spy:
    return Spy(
        compare=[LOSS], at_equal=at_equal, min_fraction=min_fraction, min_finished=min_finished
    )


def asha(*compare: str) -> Asha:
    return Asha(
        compare=list(compare),
        at_equal=Axis.steps,
        min_fraction=0.0,
        min_finished=1,
        first_rung=1,
        reduction_factor=2,
    )


def median(at_equal: Axis) -> Median:
    return Median(compare=[LOSS], at_equal=at_equal, min_fraction=0.0, min_finished=1)


GONE_DOWN = [finished(1, LEVEL, 0.4, 0.2), finished(2, LEVEL, 0.5, 0.3)]


def test_the_reason_names_values_and_point() -> None:
    reason = spy().reason_to_stop(progress(3, LEVEL, 0.6), 2, GONE_DOWN, 2)
    assert reason == "-0.6 against [-0.4, -0.5] by validation loss after step 2"


def test_without_a_loss_the_metric_is_compared() -> None:
    """Where the loss of each trial means something else, the study leaves it out."""
    marks = [Mark(epoch, 8 * epoch, epoch, {METRIC: epoch / 10}) for epoch in (1, 2, 3)]
    trials = [Progress(number, marks, 80, 80) for number in range(3)]
    reason = spy().reason_to_stop(trials[1], 3, [trials[0], trials[2]], 2)
    assert reason == "0.3 against [0.3, 0.3] by metric after step 3"


@pytest.mark.parametrize(("num_finished", "ends"), [(0, False), (3, False), (4, True)])
def test_nothing_is_pruned_before_enough_have_finished(num_finished: int, ends: bool) -> None:
    trial = progress(3, LEVEL, 0.6)
    reason = spy(min_finished=4).reason_to_stop(trial, 2, GONE_DOWN, num_finished)
    assert (reason is not None) is ends


def test_a_completed_trial_is_not_pruned() -> None:
    assert spy().reason_to_stop(finished(3, LEVEL, 0.6), 2, GONE_DOWN, 9) is None


def test_the_default_is_not_pruned() -> None:
    assert spy().reason_to_stop(progress(0, LEVEL, 0.6), 2, GONE_DOWN, 9) is None


@pytest.mark.parametrize("at_equal", Axis)
@pytest.mark.parametrize("kind", ["asha", "median"])
def test_no_trial_is_pruned_while_all_are_at_the_level_of_guessing(
    kind: str, at_equal: Axis
) -> None:
    pruner = median(at_equal) if kind == "median" else replace(asha(LOSS), at_equal=at_equal)
    noise = [0.01, -0.01, 0.005, 0.0]
    others = [
        *GONE_DOWN,
        *(progress(3 + each, LEVEL + error) for each, error in enumerate(noise)),
    ]
    assert pruner.reason_to_stop(progress(9, LEVEL + 0.02), 1, others, 2) is None
    later = progress(9, LEVEL + 0.02, LEVEL, length=24)
    assert pruner.reason_to_stop(later, 2, others, 2) is not None


def test_a_study_in_which_nobody_learns_prunes_nothing() -> None:
    others = [finished(number, LEVEL, LEVEL, LEVEL) for number in range(1, 6)]
    assert spy().reason_to_stop(progress(9, LEVEL, LEVEL + 0.1), 2, others, 5) is None


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    others = [*GONE_DOWN, progress(4, math.nan, math.nan, math.nan)]
    broken = progress(3, math.nan, math.nan, math.nan)
    reason = asha(LOSS).reason_to_stop(broken, 4, others, 2)
    assert reason == "ranked 3 of 4 by validation loss after step 3; only the top 2 continue"
    well = progress(3, LEVEL, LEVEL, 0.15)
    assert asha(LOSS).reason_to_stop(well, 4, others, 2) is None


def test_a_trial_must_be_behind_in_all_that_is_compared() -> None:
    def of(number: int, loss: float, metric: float) -> Progress:
        first = Mark(1, 8, 1, {LOSS: -LEVEL, METRIC: 0.5})
        return Progress(number, [first, Mark(2, 16, 2, {LOSS: -loss, METRIC: metric})], 80, 80)

    others = [of(1, 0.3, 0.8), of(2, 0.35, 0.9), of(3, 0.5, 0.7)]
    pruner = asha(LOSS, METRIC)
    assert pruner.reason_to_stop(of(4, 0.4, 0.85), 2, others, 3) is None
    assert pruner.reason_to_stop(of(4, 0.2, 0.6), 2, others, 3) is None
    assert pruner.reason_to_stop(of(4, 0.4, 0.6), 2, others, 3) == (
        "ranked 3 of 4 by validation loss and ranked 4 of 4 by metric after step 2; "
        "only the top 2 continue"
    )


def test_no_trial_ends_before_its_least_share() -> None:
    trial = progress(3, LEVEL, 0.6)  # 20 % of its run
    assert spy(min_fraction=0.2).reason_to_stop(trial, 2, GONE_DOWN, 9) is not None
    assert spy(min_fraction=0.21).reason_to_stop(trial, 2, GONE_DOWN, 9) is None


def test_a_trial_of_unknown_length_is_compared_after_equal_steps() -> None:
    asked = replace(progress(3, LEVEL, 0.6), num_examples=None, stable_examples=None)
    reason = spy(min_fraction=0.5, at_equal=Axis.fraction).reason_to_stop(asked, 2, GONE_DOWN, 9)
    assert reason == "-0.6 against [-0.4, -0.5] by validation loss after step 2"


def test_base_pruner_ends_nothing() -> None:
    assert Pruner().reason_to_stop(progress(3, LEVEL, 0.6), 2, GONE_DOWN, 9) is None


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="min_finished: must be > 0, got 0"):
        replace(median(Axis.steps), min_finished=0)
