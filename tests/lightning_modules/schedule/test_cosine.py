from __future__ import annotations

import math

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.cosine import Cosine


def test_cosine_rises_linearly_and_falls_along_half_a_cosine() -> None:
    schedule, length = Cosine(warmup_fraction=0.2, final_fraction=0.0), Length(100, 10)
    expected = {
        0: 0.05,
        9: 0.5,
        19: 1,
        20: 1,
        40: (1 + math.cos(math.pi / 4)) / 2,
        60: 0.5,
        80: (1 + math.cos(3 * math.pi / 4)) / 2,
    }
    assert {step: schedule.factor(step, length) for step in expected} == pytest.approx(expected)


def test_cosine_ends_close_to_0() -> None:
    assert Cosine(warmup_fraction=0.06, final_fraction=0.0).factor(999, Length(1000, 100)) < 1e-5


def test_cosine_ends_at_its_final_fraction() -> None:
    schedule, length = Cosine(warmup_fraction=0.05, final_fraction=0.1), Length(2000, 100)
    assert schedule.factor(100, length) == 1
    assert schedule.factor(1050, length) == pytest.approx(0.55)
    assert schedule.factor(1999, length) == pytest.approx(0.1, abs=1e-4)


def test_no_step_is_stable() -> None:
    assert Cosine(warmup_fraction=0.2, final_fraction=0.0).stable_steps(Length(100, 10)) == 0


@pytest.mark.parametrize("warmup_fraction", [-0.1, 1])
def test_an_invalid_warmup_is_refused(warmup_fraction: float) -> None:
    with pytest.raises(ConfigError, match="warmup_fraction: must be >= 0 and < 1"):
        Cosine(warmup_fraction=warmup_fraction, final_fraction=0.0)
