from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.linear import Linear


def test_linear_rises_and_falls_linearly() -> None:
    schedule, length = Linear(warmup_fraction=0.2), Length(100, 10)
    expected = {0: 0.05, 9: 0.5, 19: 1, 20: 1, 40: 0.75, 60: 0.5, 99: 1 / 80}
    assert {step: schedule.factor(step, length) for step in expected} == pytest.approx(expected)


def test_linear_without_warmup_starts_at_the_peak() -> None:
    schedule, length = Linear(warmup_fraction=0), Length(4, 4)
    assert [schedule.factor(step, length) for step in range(4)] == [1, 0.75, 0.5, 0.25]


def test_no_step_is_stable() -> None:
    assert Linear(warmup_fraction=0.2).stable_steps(Length(100, 10)) == 0


@pytest.mark.parametrize("warmup_fraction", [-0.1, 1])
def test_an_invalid_warmup_is_refused(warmup_fraction: float) -> None:
    with pytest.raises(ConfigError, match="warmup_fraction: must be >= 0 and < 1"):
        Linear(warmup_fraction=warmup_fraction)
