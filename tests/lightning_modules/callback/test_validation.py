from __future__ import annotations

import pytest

from lightning_modules.callback.validation import is_better
from lightning_modules.outcome import Point
from tests.conftest import classification


def point(value: float, loss: float) -> Point:
    return Point(
        number=1,
        step=1,
        examples=1,
        epoch=1.0,
        train_loss=0.0,
        validation_loss=loss,
        metrics={"accuracy": value, "log_loss": value},
        seconds=0.0,
    )


@pytest.mark.parametrize(
    ("metric", "now", "best", "better"),
    [
        ("accuracy", (0.8, 0.9), (0.7, 0.5), True),
        ("accuracy", (0.7, 0.5), (0.8, 0.9), False),
        ("accuracy", (0.8, 0.5), (0.8, 0.9), True),
        ("accuracy", (0.8, 0.9), (0.8, 0.5), False),
        ("accuracy", (0.8, 0.5), (0.8, 0.5), False),
        ("log_loss", (0.3, 0.3), (0.4, 0.4), True),
        ("log_loss", (0.4, 0.2), (0.4, 0.4), True),
        ("log_loss", (0.5, 0.2), (0.4, 0.4), False),
    ],
)
def test_the_metric_decides_and_on_a_tie_the_lower_loss(
    metric: str, now: tuple[float, float], best: tuple[float, float], better: bool
) -> None:
    task = classification(metric)
    assert is_better(point(*now), point(*best), task) is better
