from __future__ import annotations

import pytest

from lightning_modules.outcome import Ending, Outcome, Point
from search.plan.objective import build_objectives
from tests.conftest import classification

POINT = Point(1, 10, 160, 1.0, 0.5, 0.6, {"accuracy": 0.8, "log_loss": 0.4}, 7.0)
OUTCOME = Outcome(Ending.finished, "", POINT, (POINT,), 9.5, 66, 1000, "cpu", 2, "")


@pytest.mark.parametrize(
    ("name", "full", "direction", "value"),
    [
        ("accuracy", "validation/accuracy", "maximize", 0.8),
        ("validation/log_loss", "validation/log_loss", "minimize", 0.4),
        ("seconds", "seconds", "minimize", 9.5),
        ("trainable_parameters", "trainable_parameters", "minimize", 66.0),
    ],
)
def test_an_objective_takes_its_value_from_a_finished_training(
    name: str, full: str, direction: str, value: float
) -> None:
    (objective,) = build_objectives([name], classification())
    assert (objective.name, objective.direction) == (full, direction)
    assert objective.value(OUTCOME) == value
    assert objective.sign == (1 if direction == "maximize" else -1)
