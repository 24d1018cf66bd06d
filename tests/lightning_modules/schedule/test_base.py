from __future__ import annotations

import pytest

from lightning_modules.schedule.base import Length, Schedule, decay, warmup
from lightning_modules.schedule.constant import Constant
from lightning_modules.schedule.cosine import Cosine
from lightning_modules.schedule.linear import Linear
from lightning_modules.schedule.wsd import Wsd

SCHEDULES = [
    *(Constant(warmup_epochs=share) for share in (0, 0.1, 0.99)),
    *(Cosine(warmup_fraction=share, final_fraction=0.0) for share in (0, 0.1, 0.99)),
    *(Linear(warmup_fraction=share) for share in (0, 0.1, 0.99)),
    *(
        Wsd(warmup_epochs=rise, decay_fraction=fall)
        for rise in (0, 0.1, 0.99)
        for fall in (0, 0.2, 0.99)
    ),
]
LENGTHS = [
    Length(1, 1),
    Length(3, 1),
    Length(7, 7),
    Length(20, 700),
    Length(200, 50),
    Length(1000, 10),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("length", LENGTHS, ids=repr)
def test_every_factor_is_above_0_and_at_most_1(schedule: Schedule, length: Length) -> None:
    factors = [schedule.factor(step, length) for step in range(length.num_steps)]
    assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("length", LENGTHS, ids=repr)
def test_a_schedule_rises_and_then_never_rises_again(schedule: Schedule, length: Length) -> None:
    factors = [schedule.factor(step, length) for step in range(length.num_steps)]
    peak = factors.index(max(factors))
    assert factors == sorted(factors[: peak + 1]) + sorted(factors[peak + 1 :], reverse=True)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("length", LENGTHS, ids=repr)
def test_a_run_with_enough_steps_comes_close_to_its_peak(
    schedule: Schedule, length: Length
) -> None:
    factors = [schedule.factor(step, length) for step in range(length.num_steps)]
    assert max(factors) > (0.9 if _rises_before_it_falls(schedule) else 0)


def _rises_before_it_falls(schedule: Schedule) -> bool:
    return not (isinstance(schedule, Wsd) and schedule.warmup_epochs + schedule.decay_fraction > 1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("steps_per_epoch", [50, 250, 1000])  # ends in a later epoch or the first
def test_stable_steps_are_the_same_in_a_longer_run(
    schedule: Schedule, steps_per_epoch: int
) -> None:
    short, long = Length(200, steps_per_epoch), Length(300, steps_per_epoch)
    for step in range(schedule.stable_steps(short)):
        assert schedule.factor(step, short) == schedule.factor(step, long)


def test_warmup_rises_linearly_to_one() -> None:
    assert [warmup(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("warmup_steps", [0, 0.5])
def test_warmup_of_less_than_a_step_is_ignored(warmup_steps: float) -> None:
    assert warmup(0, warmup_steps) == 1


def test_decay_falls_linearly_from_start() -> None:
    assert [decay(step, 2, 6) for step in range(6)] == [1, 1, 1, 0.75, 0.5, 0.25]
