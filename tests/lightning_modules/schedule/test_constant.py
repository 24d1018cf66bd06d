from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.constant import Constant


def test_constant_rises_over_a_share_of_an_epoch_and_stays() -> None:
    schedule, length = Constant(warmup_epochs=0.1), Length(200, 40)
    assert [schedule.factor(step, length) for step in (0, 1, 2, 3, 4, 199)] == [
        *(0.25, 0.5, 0.75),
        *(1, 1, 1),
    ]


def test_a_run_shorter_than_an_epoch_rises_over_a_share_of_its_steps() -> None:
    schedule, length = Constant(warmup_epochs=0.1), Length(40, 7000)
    assert [schedule.factor(step, length) for step in (0, 3, 39)] == [0.25, 1, 1]
    assert schedule.stable_steps(length) == 0
    assert Constant(warmup_epochs=0).stable_steps(length) == 40


def test_every_step_of_a_constant_schedule_is_stable() -> None:
    assert Constant(warmup_epochs=0.1).stable_steps(Length(200, 40)) == 200


@pytest.mark.parametrize("warmup_epochs", [-0.1, 1])
def test_an_invalid_warmup_is_refused(warmup_epochs: float) -> None:
    with pytest.raises(ConfigError, match="warmup_epochs: must be >= 0 and < 1"):
        Constant(warmup_epochs=warmup_epochs)
