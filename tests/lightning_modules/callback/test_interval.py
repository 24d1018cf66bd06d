"""Checkpoints take at most a share of the time."""

from __future__ import annotations

import pytest

from lightning_modules.callback.interval import Interval, interval_seconds


@pytest.mark.parametrize("cost", [0.001, 0.5, 3, 10, 64, 600])
@pytest.mark.parametrize("share", [0.01, 0.05, 1.0])
def test_checkpoints_take_at_most_the_share_and_are_as_frequent_as_it_allows(
    cost: float, share: float
) -> None:
    seconds = interval_seconds(60, cost, share)
    assert cost / (seconds + cost) < share
    assert seconds == pytest.approx(60 if cost <= 60 * share else cost / share)


def test_without_a_share_the_cost_changes_nothing() -> None:
    assert interval_seconds(60, 600, None) == 60


def test_a_longer_interval_is_said_once_and_again_if_it_doubles() -> None:
    said: list[str] = []
    interval = Interval(60, 0.05, said.append)
    assert interval.seconds == 60
    for cost, seconds in ((1, 60), (12, 240), (13, 260), (2, 60), (23, 460), (25, 500)):
        interval.set_cost(cost)
        assert interval.seconds == pytest.approx(seconds)
    assert said == [
        "a checkpoint took 12 s: one is saved every 240 s instead of "
        "trainer.checkpoint_seconds=60, so that they take at most 5% of the time",
        "a checkpoint took 25 s: one is saved every 500 s instead of "
        "trainer.checkpoint_seconds=60, so that they take at most 5% of the time",
    ]


def test_it_is_due_after_the_interval_and_not_at_once_after_a_costly_checkpoint() -> None:
    interval = Interval(1e-9, 1e-6, [].append)
    assert interval.is_due
    with interval.measuring():
        sum(range(100_000))
    assert not interval.is_due
    frequent = Interval(1e-9, None, [].append)
    with frequent.measuring():
        pass
    assert frequent.is_due
