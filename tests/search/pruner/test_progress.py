from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from search.pruner.progress import LOSS, METRIC, Axis, Mark, Progress, rival_value


def curve(
    losses: Mapping[int, float], *, batch_size: int, stable: int = 800, length: int = 800
) -> Progress:
    """Return a trial of 80 rows with a loss by examples seen."""
    marks = [
        Mark(examples // batch_size, examples, examples / 80, {LOSS: -loss, METRIC: loss})
        for examples, loss in losses.items()
    ]
    return Progress(1, marks, length, stable)


SLOW = curve({80: 0.6, 160: 0.5, 240: 0.4}, batch_size=16)  # steps 5, 10, 15
FAST = curve({80: 0.5, 160: 0.4, 240: 0.3}, batch_size=8)  # steps 10, 20, 30


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        (Axis.steps, -0.45),  # step 15, between its steps 10 and 20
        (Axis.examples, -0.3),
        (Axis.epochs, -0.3),
        (Axis.fraction, -0.3),
    ],
)
def test_a_rival_is_read_after_as_much_training(axis: Axis, value: float) -> None:
    assert rival_value(SLOW, FAST, LOSS, axis) == pytest.approx(value)


def test_trials_that_only_differ_in_batch_size_are_equal_after_equal_steps() -> None:
    """The loss is a function of the number of steps, so only equal steps do not tell them apart."""
    trials = {
        size: curve(
            {examples: 1 / (1 + examples / size) for examples in range(80, 801, 80)},
            batch_size=size,
        )
        for size in (8, 16)
    }
    for size, other in ((16, 8), (8, 16)):
        trial = trials[size].until(320)
        own = trial.curve[-1].values[LOSS]
        steps = rival_value(trial, trials[other], LOSS, Axis.steps)
        examples = rival_value(trial, trials[other], LOSS, Axis.examples)
        assert steps == pytest.approx(own, abs=1e-3)
        assert examples is not None and abs(examples - own) > 0.02


def test_the_best_value_so_far_is_read() -> None:
    overfitted = curve({80: 0.5, 160: 0.3, 240: 0.4, 320: math.nan}, batch_size=16)
    assert overfitted.best(LOSS) == [-0.5, -0.3, -0.3, -0.3]
    trial = curve({80: 0.5, 160: 0.3, 240: 0.4}, batch_size=16)
    assert rival_value(trial, overfitted, LOSS, Axis.steps) == -0.3
    assert rival_value(trial.until(80), overfitted, LOSS, Axis.steps) == -0.5


def test_what_is_no_number_is_worse_than_every_number() -> None:
    broken = curve({80: math.nan, 160: 0.3}, batch_size=16)
    assert broken.best(LOSS) == [-math.inf, -0.3]
    between = curve({120: 0.4}, batch_size=16)
    assert rival_value(between, broken, LOSS, Axis.examples) == -0.3


def test_nothing_is_read_outside_a_curve() -> None:
    assert rival_value(FAST, SLOW, LOSS, Axis.steps) is None  # it has not come to step 30
    early = SLOW.until(80)
    assert rival_value(early, FAST, LOSS, Axis.steps) is None  # its first is after step 10


def test_a_step_more_or_less_is_the_same_position() -> None:
    trial = Progress(1, [Mark(70, 560, 7.0, {LOSS: -0.5})], 800, 800)
    other = Progress(2, [Mark(69, 1104, 6.9, {LOSS: -0.4})], 1600, 1600)
    assert rival_value(trial, other, LOSS, Axis.steps) == -0.4


@pytest.mark.parametrize("axis", Axis)
@pytest.mark.parametrize(
    ("stable", "length", "same"),
    [
        (640, 800, True),
        (200, 250, False),
        (0, 800, True),
        (0, 1600, False),
    ],
    ids=["both stable", "decayed before", "equally long", "decays from the start"],
)
def test_trials_that_decay_are_comparable_with_equally_long_ones(
    axis: Axis, stable: int, length: int, same: bool
) -> None:
    trial = curve({80: 0.6, 160: 0.5, 240: 0.4}, batch_size=16, stable=640)
    if stable == 0:
        trial = curve({80: 0.6, 160: 0.5, 240: 0.4}, batch_size=16, stable=0)
    other = curve(
        {each * length // 10: 0.9 - each / 20 for each in range(1, 11)},
        batch_size=16,
        stable=stable,
        length=length,
    )
    value = rival_value(trial, other, LOSS, axis)
    assert (value is not None) is (same or axis is Axis.fraction)


def test_at_an_equal_fraction_a_longer_run_is_read_later() -> None:
    other = curve({160: 0.6, 320: 0.5, 480: 0.4}, batch_size=16, length=1600, stable=0)
    assert rival_value(SLOW, other, LOSS, Axis.fraction) == -0.4


def test_a_trial_of_before_is_read_by_its_metric_and_examples_alone() -> None:
    old = Progress(
        1, [Mark(None, each, None, {METRIC: each / 800}) for each in (80, 240)], 800, 800
    )
    assert rival_value(SLOW, old, METRIC, Axis.examples) == 0.3
    assert rival_value(SLOW.until(160), old, METRIC, Axis.examples) == pytest.approx(0.2)
    assert rival_value(SLOW, old, METRIC, Axis.steps) is None
    assert rival_value(SLOW, old, LOSS, Axis.examples) is None
    assert rival_value(old, SLOW, METRIC, Axis.steps) is None


def test_a_trial_of_unknown_length_is_always_comparable_but_for_fractions() -> None:
    asked = Progress(1, [Mark(15, 240, 3.0, {LOSS: -0.2})], None, None)
    assert asked.fraction is None
    assert rival_value(asked, FAST, LOSS, Axis.steps) == pytest.approx(-0.45)
    assert rival_value(asked, FAST, LOSS, Axis.fraction) is None


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (Axis.steps, "after step 15"),
        (Axis.examples, "after 240 examples"),
        (Axis.epochs, "after epoch 3"),
        (Axis.fraction, "after 30% of the run"),
    ],
)
def test_a_position_in_words(axis: Axis, words: str) -> None:
    assert axis.words(SLOW) == words


def test_what_counts_steps_alone_is_said_in_steps() -> None:
    asked = Progress(1, [Mark(15, 15, 15.0, {LOSS: -0.2})], None, None)
    assert Axis.examples.words(asked) == "after step 15"
