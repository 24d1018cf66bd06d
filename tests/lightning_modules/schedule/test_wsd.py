from __future__ import annotations

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.wsd import Wsd

WSD = Wsd(warmup_epochs=0.1, decay_fraction=0.2)


def test_wsd_rises_stays_and_falls() -> None:
    length = Length(200, 40)
    expected = {0: 0.25, 1: 0.5, 3: 1, 100: 1, 159: 1, 160: 1, 180: 0.5, 199: 1 / 40}
    assert {step: WSD.factor(step, length) for step in expected} == pytest.approx(expected)


def test_stable_steps_end_where_the_decay_starts() -> None:
    assert WSD.stable_steps(Length(200, 40)) == 160


def test_a_run_shorter_than_an_epoch_reaches_its_peak() -> None:
    # 114,000 rows in batches of 16, trainer.max_steps=200.
    length = Length(200, 7125)
    expected = {0: 1 / 20, 19: 1, 159: 1, 180: 0.5}
    assert {step: WSD.factor(step, length) for step in expected} == pytest.approx(expected)
    assert WSD.stable_steps(length) == 0


@pytest.mark.parametrize("num_epochs", [6, 10, 50])
def test_stable_steps_equal_those_of_a_longer_run(num_epochs: int) -> None:
    short, long = Length(200, 40), Length(40 * num_epochs, 40)
    for step in range(WSD.stable_steps(short)):
        assert WSD.factor(step, short) == WSD.factor(step, long)


def test_a_shorter_run_decays_before_a_longer_one() -> None:
    assert WSD.factor(180, Length(200, 40)) < WSD.factor(180, Length(400, 40))


def test_without_decay_every_step_is_stable() -> None:
    schedule = Wsd(warmup_epochs=0, decay_fraction=0)
    assert schedule.stable_steps(Length(200, 40)) == 200
    assert schedule.factor(199, Length(200, 40)) == 1


@pytest.mark.parametrize("field", ["warmup_epochs", "decay_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1])
def test_an_invalid_share_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}: must be >= 0 and < 1"):
        Wsd(**{"warmup_epochs": 0.1, "decay_fraction": 0.2, field: value})
