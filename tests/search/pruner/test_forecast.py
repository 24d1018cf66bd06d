from __future__ import annotations

import math
from dataclasses import replace

import pytest

from search.pruner.forecast import Forecast, forecast
from search.pruner.progress import LOSS, METRIC, Mark, Progress

PRUNER = Forecast(compare=[LOSS], min_fraction=0.3, min_finished=2)


def trial(number: int, *losses: float, length: int = 10, metric: float = 0.5) -> Progress:
    """Return a trial that is validated after each of its `length` epochs of 8 rows."""
    marks = [
        Mark(epoch, 8 * epoch, epoch, {LOSS: -loss, METRIC: metric})
        for epoch, loss in enumerate(losses, 1)
    ]
    return Progress(number, marks, 8 * length, 8 * length)


BEST = trial(1, 0.9, 0.7, 0.5, 0.4, 0.3, 0.28, 0.26, 0.25, 0.24, 0.23)
WORSE = trial(2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


def reason(
    of: Progress, *others: Progress, pruner: Forecast = PRUNER, num_finished: int = 2
) -> str | None:
    return pruner.reason_to_stop(of, len(of.curve), others or (BEST, WORSE), num_finished)


def test_the_forecast_is_a_line_through_the_second_half_of_what_was_done() -> None:
    # From 0.7 after 2 epochs to 0.5 after 4: 0.1 an epoch, and 6 epochs are left.
    assert forecast(trial(3, 0.9, 0.7, 0.6, 0.5), LOSS, 80) == pytest.approx(-0.5 + 0.6)


def test_the_best_value_so_far_is_continued() -> None:
    assert forecast(trial(3, 0.9, 0.5, 0.7, 0.6), LOSS, 80) == pytest.approx(-0.5)


def test_a_value_between_two_validations_is_interpolated() -> None:
    # After 1.5 epochs it is 0.8; from there to 0.6 after 3 are 0.4 / 3 an epoch.
    expected = -0.6 + 7 * 0.2 / 1.5
    assert forecast(trial(3, 0.9, 0.7, 0.6), LOSS, 80) == pytest.approx(expected)


def test_a_single_validation_shows_no_pace() -> None:
    assert forecast(trial(3, 0.9), LOSS, 80) is None
    early = replace(PRUNER, min_fraction=0.0)
    assert reason(trial(3, 0.9), pruner=early) is None


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ((0.9, 0.9, 0.9, 0.9), True),  # nothing is learnt
        ((0.9, 0.8, 0.78, 0.76), True),  # 0.76 - 6 * 0.02 > 0.23
        ((0.95, 0.9, 0.8, 0.7), False),  # a slow start: 0.7 - 6 * 0.1 < 0.23
        ((0.8, 0.39, 0.39, 0.39), False),  # no faster, but ahead of the best at this point
        ((0.8, 0.41, 0.41, 0.41), True),
        ((math.nan, math.nan, math.nan, math.nan), True),
        ((math.nan, math.nan, math.nan, 0.8), False),  # where it comes from is unknown
    ],
)
def test_a_trial_ends_if_it_is_behind_now_and_by_its_forecast(
    losses: tuple[float, ...], ends: bool
) -> None:
    assert (reason(trial(3, *losses)) is not None) is ends


HOPELESS = trial(3, 0.9, 0.8, 0.78, 0.76)


def test_the_reason_names_what_is_compared_and_when() -> None:
    assert reason(HOPELESS) == (
        "at its pace it would not reach the best trial by validation loss after 40% of the run"
    )


def test_a_trial_must_be_behind_in_all_that_is_compared() -> None:
    both = replace(PRUNER, compare=[LOSS, METRIC])
    assert reason(HOPELESS, pruner=both) is None  # the metric is equal
    marks = [
        replace(mark, values={**mark.values, METRIC: 0.5 + mark.step / 100})
        for mark in BEST.curve
        if mark.step is not None
    ]
    ahead = replace(BEST, curve=marks)
    assert "by validation loss and metric" in str(reason(HOPELESS, ahead, WORSE, pruner=both))


def test_nothing_ends_too_early_or_without_enough_to_compare_with() -> None:
    assert reason(trial(3, 0.9, 0.9)) is None  # 20 % of its run
    assert reason(HOPELESS, num_finished=1) is None
    assert reason(replace(HOPELESS, number=0)) is None  # the default
    assert reason(trial(3, 0.9, 0.8, 0.78, 0.76, length=4)) is None  # it has ended


def test_trials_that_cannot_win_are_no_measure() -> None:
    diverged = replace(BEST, can_win=False)
    assert reason(HOPELESS, diverged, trial(2, 0.9, 0.9, 0.8, 0.78, length=4)) is None
    assert reason(HOPELESS, diverged) is None


def test_nothing_ends_at_the_level_of_guessing() -> None:
    level = [trial(number, *[0.9] * 10) for number in (1, 2)]
    assert reason(trial(3, 0.9, 0.9, 0.9, 0.91), *level) is None


def test_without_a_known_length_the_longest_other_trial_is_the_end() -> None:
    unknown = [replace(each, num_examples=None, stable_examples=None) for each in (BEST, WORSE)]
    asked = replace(HOPELESS, num_examples=None, stable_examples=None)
    assert "after 32 examples" in str(reason(asked, *unknown))
    steady = replace(trial(3, 0.95, 0.9, 0.8, 0.7), num_examples=None, stable_examples=None)
    assert reason(steady, *unknown) is None
    longest = replace(trial(3, *[0.9] * 10), num_examples=None, stable_examples=None)
    assert reason(longest, *unknown) is None
