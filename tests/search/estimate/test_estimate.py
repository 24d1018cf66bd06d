from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from search.config import compose
from search.estimate.estimate import (
    NUM_DRAWS,
    Estimate,
    Measured,
    Pace,
    Past,
    draws,
    estimate,
    training_seconds,
)
from search.estimate.probe import largest
from search.plan.build import build_plan
from search.plan.plan import Plan

ROWS = (600, 200)
ARMS = "strategy=choice(lora,full)"


@cache
def plan_of(*overrides: str) -> Plan:
    words = ["model=tiny", "logger=none", "search/pruner=none", "search.certify=false"]
    return build_plan(compose("sweep", [*words, *overrides]))


def measured_of(plan: Plan, *paces: Pace, **own: Any) -> Measured:
    return Measured(dict(zip(plan.space.arms, paces, strict=True)), **own)


PACE = Pace(train=0.01, validation=0.002, start=1.0, memory_bytes=10**9)


def test_a_trial_trains_its_epochs_and_validates_in_each() -> None:
    plan = plan_of("trainer.validations_per_epoch=2")
    values = {"trainer.epochs": 3, "data.batch_size": 8}
    seconds = training_seconds(plan, values, measured_of(plan, PACE), ROWS)
    assert seconds == pytest.approx(3 * (600 * 0.01 + 2 * 200 * 0.002))


def test_validations_on_the_same_step_count_once() -> None:
    plan = plan_of("trainer.validations_per_epoch=4")
    values = {"trainer.epochs": 1, "data.batch_size": 16}
    seconds = training_seconds(plan, values, measured_of(plan, PACE), (20, 200))
    assert seconds == pytest.approx(20 * 0.01 + 2 * 200 * 0.002)


@pytest.mark.parametrize(
    ("max_steps", "num_examples", "num_validations"),
    [
        (50, 800, 1),  # within the first epoch, with a validation after its last step
        (1, 16, 1),
        (625, 10_000, 2),
        (700, 11_200, 3),  # half, one, 1.12 epochs
        (10**6, 30_000, 6),
    ],
)
def test_a_trial_that_max_steps_ends_is_validated_at_its_end(
    max_steps: int, num_examples: int, num_validations: int
) -> None:
    plan = plan_of("trainer.validations_per_epoch=2", f"trainer.max_steps={max_steps}")
    values = {"trainer.epochs": 3, "data.batch_size": 16}
    pace = Pace(train=0.01, validation=0.01, start=0, memory_bytes=None)
    seconds = training_seconds(plan, values, measured_of(plan, pace), (10_000, 2000))
    assert seconds == pytest.approx(num_examples * 0.01 + num_validations * 2000 * 0.01)


def test_known_trials_count_exactly_and_others_as_the_mean_of_the_space() -> None:
    plan = plan_of("search.num_trials=10", "trainer.validations_per_epoch=1")
    whole = {"optimizer.lr": 1e-3, "data.batch_size": 16, "trainer.epochs": 3}
    known = [whole, whole]
    found = estimate(plan, ROWS, measured_of(plan, PACE, start=5.0), known)
    epoch = 600 * 0.01 + 200 * 0.002
    mean = sum(values["trainer.epochs"] for values in draws(plan)) / NUM_DRAWS
    assert mean == pytest.approx(2.0, abs=0.15)  # of 1, 2, 3
    assert found.seconds == pytest.approx(5 + (2 * 3 + 8 * mean) * epoch + 10 * 1.0)
    assert found.trial_seconds == pytest.approx((found.seconds - 5) / 10)
    assert found.num_trials == found.num_limited == 10


def test_rows_of_guards_take_as_long_as_validation_rows() -> None:
    words = ("search.num_trials=4", "search.workers=2", "trainer.epochs=1")
    plan = plan_of(*words, "trainer.validations_per_epoch=1")
    measured = measured_of(plan, PACE, start=5.0)
    without = estimate(plan, ROWS, measured)
    found = estimate(plan, ROWS, measured, num_guarded=1000)
    assert found.trial_seconds == pytest.approx(without.trial_seconds + 1000 * PACE.validation)
    # Each worker scores the untouched model, and two trials.
    assert found.seconds == pytest.approx(without.seconds + 3 * 1000 * PACE.validation)
    # What earlier trials took has their guards' rows.
    ended = replace(measured, num_trials=4)
    assert estimate(plan, ROWS, ended, num_guarded=1000).seconds == pytest.approx(without.seconds)


def test_rows_without_stored_features_take_the_frozen_part_too() -> None:
    plan = plan_of("search.num_trials=4", "trainer.epochs=1", "search.workers=1")
    measured = measured_of(plan, PACE, feature_seconds=400.0)  # 0.5 s for each of 800 rows
    found = estimate(plan, ROWS, measured, num_guarded=10, num_test=100)
    assert found.scoring_seconds == pytest.approx(100 * (PACE.validation + 0.5))
    spared = estimate(plan, ROWS, replace(measured, feature_seconds=0.0), num_guarded=10)
    assert found.trial_seconds == pytest.approx(spared.trial_seconds + 10 * 0.5)
    assert found.seconds == pytest.approx(spared.seconds + 5 * 10 * 0.5)  # once untouched, too
    # What earlier trials took for scoring has the frozen part.
    past = Past(num_ended=1, scoring_seconds=7.0)
    assert estimate(plan, ROWS, measured, past=past, num_test=100).scoring_seconds == 7.0


def test_a_grid_is_counted_exactly() -> None:
    words = ("search/sampler=grid", "optimizer.lr=1e-3", "data.batch_size=8")
    plan = plan_of(*words, "trainer.epochs=choice(1,2,6)", "trainer.validations_per_epoch=1")
    found = estimate(plan, ROWS, measured_of(plan, Pace(0.01, 0, 0, None)))
    assert (found.num_trials, found.seconds) == (3, pytest.approx(3 * 3 * 6.0))


def test_draws_are_the_same_each_time_and_respect_arms() -> None:
    plan = plan_of(ARMS, "strategy.rank=choice(4,8)")
    drawn = draws(plan)
    assert drawn == draws(plan)
    assert all(("strategy.rank" in values) == (values["strategy"] == "lora") for values in drawn)
    share = sum(values["strategy"] == "lora" for values in drawn) / len(drawn)
    assert share == pytest.approx(0.5, abs=0.1)
    assert all(plan.space.holds(values) for values in drawn)


def test_each_arm_has_its_own_pace_and_the_largest_decides_the_memory() -> None:
    plan = plan_of(ARMS, "trainer.epochs=1", "trainer.validations_per_epoch=1")
    light, heavy = Pace(0.001, 0, 0.5, 10**9), Pace(0.1, 0, 0.5, 3 * 10**9)
    measured = measured_of(plan, light, heavy, free_bytes=4 * 10**9)
    rest = {"optimizer.lr": 2e-4, "data.batch_size": 16}
    known = [{"strategy": "lora", **rest}, {"strategy": "full", **rest}]
    two = plan_of(ARMS, "trainer.epochs=1", "search.num_trials=2")
    found = estimate(two, ROWS, measured, known)
    assert found.trial_seconds == pytest.approx((0.6 + 60) / 2 + 0.5)
    assert (found.memory_bytes, found.memory_bytes_all, found.fits) == (3 * 10**9, 3 * 10**9, True)


def test_workers_share_the_trials_and_add_up_their_memory() -> None:
    plan = plan_of("search.workers=4", "search.num_trials=10", "trainer.epochs=1")
    measured = measured_of(plan, Pace(0.01, 0, 0, 10**9), free_bytes=3 * 10**9, start=7.0)
    found = estimate(plan, ROWS, measured)
    assert found.seconds == pytest.approx(7 + 3 * 6.0)  # three rounds of four
    assert (found.num_workers, found.memory_bytes_all, found.fits) == (4, 4 * 10**9, False)
    few = estimate(plan, ROWS, measured, past=Past(num_ended=8))
    assert (few.num_workers, few.num_trials) == (2, 2)


def test_workers_with_a_gpu_each_do_not_add_up_their_memory() -> None:
    plan = plan_of("search.workers=4", "search.num_trials=10", "trainer.epochs=1")
    pace, free = Pace(0.01, 0, 0, 10**9), 3 * 10**9
    found = estimate(plan, ROWS, measured_of(plan, pace, free_bytes=free, num_shares=4))
    assert (found.workers_per_device, found.memory_bytes_per_device, found.fits) == (1, 10**9, True)
    assert found.memory_bytes_all == 4 * 10**9
    two = estimate(plan, ROWS, measured_of(plan, pace, free_bytes=free, num_shares=3))
    assert (two.workers_per_device, two.memory_bytes_per_device, two.fits) == (2, 2 * 10**9, True)
    one = estimate(plan, ROWS, measured_of(plan, pace, free_bytes=free, num_shares=1))
    assert (one.workers_per_device, one.fits) == (4, False)


def test_hours_of_training_limit_the_trials() -> None:
    plan = plan_of("search.max_hours=0.01", "trainer.epochs=1", "search.num_trials=50")
    measured = measured_of(plan, Pace(0.02, 0, 3.0, None))
    found = estimate(plan, ROWS, measured)
    assert (found.num_trials, found.num_limited) == (50, 3)  # 36 s of 12 s each
    assert found.seconds == pytest.approx(3 * 15)
    assert estimate(plan, ROWS, measured, past=Past(2, 20.0)).num_limited == 2
    assert estimate(plan, ROWS, measured, past=Past(3, 36.0)).seconds == 0


def test_with_pruning_the_estimate_is_an_upper_bound() -> None:
    def of(*words: str) -> Estimate:
        plan = plan_of("trainer.epochs=1", *words)
        return estimate(plan, ROWS, measured_of(plan, PACE))

    assert not of().is_pruned
    assert of("search/pruner=asha").is_pruned
    # Nothing is pruned if there are several goals.
    assert not of("search/pruner=asha", "search.objectives=[accuracy,seconds]").is_pruned
    assert of("search/pruner=asha").seconds == of().seconds


def test_the_peak_is_measured_at_the_largest_sizes() -> None:
    plan = plan_of(ARMS, "data.max_length=choice(32,128,64)", "data.batch_size=range(8,33,8)")
    assert largest(plan, ("full",)) == {
        "strategy": "full",
        "data.batch_size": 32,
        "data.max_length": 128,
    }
    whole = plan_of(ARMS, "trainer.micro_batch_size=choice(2,null,4)")
    assert largest(whole, ("full",))["trainer.micro_batch_size"] is None
