"""The temperature that fits best, and the loss at it."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lightning_modules.task.metric.calibration import (
    TEMPERATURES,
    class_temperature,
    label_temperature,
)


def drawn(boldness: float, num_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that would be calibrated if they were divided by `boldness`."""
    draw = torch.Generator().manual_seed(0)
    logits_BC = torch.randn(4000, num_classes, generator=draw).double()
    labels_B = torch.multinomial(logits_BC.softmax(1), 1, generator=draw).squeeze(1)
    return boldness * logits_BC, labels_B


@pytest.mark.parametrize("boldness", [0.5, 1.0, 4.0])
def test_the_boldness_of_a_network_is_found(boldness: float) -> None:
    assert class_temperature(*drawn(boldness)) == pytest.approx(boldness, rel=0.1)


@pytest.mark.parametrize("boldness", [0.5, 1.0, 4.0])
def test_the_loss_is_the_least_of_any_temperature(boldness: float) -> None:
    logits_BC, labels_B = drawn(boldness)

    def loss(temperature: float) -> float:
        return float(cross_entropy(logits_BC / temperature, labels_B))

    least = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded", options={"xatol": 1e-8})
    assert loss(class_temperature(logits_BC, labels_B)) == pytest.approx(least.fun, abs=1e-6)


def test_labels_with_their_own_probabilities_have_one_temperature() -> None:
    draw = torch.Generator().manual_seed(0)
    logits_BC = torch.randn(2000, 4, generator=draw).double()
    labels_BC = torch.rand(2000, 4, generator=draw) < logits_BC.sigmoid()

    def loss(temperature: float) -> float:
        return float(
            binary_cross_entropy_with_logits(3 * logits_BC / temperature, labels_BC.double())
        )

    found = label_temperature(3 * logits_BC, labels_BC)
    least = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded", options={"xatol": 1e-8})
    assert found == pytest.approx(3, rel=0.1)
    assert loss(found) == pytest.approx(least.fun, abs=1e-6)


def test_answers_that_are_all_right_or_all_wrong_stop_at_the_ends() -> None:
    logits_BC, labels_B = torch.eye(3), torch.arange(3)
    low, high = TEMPERATURES
    assert class_temperature(logits_BC, labels_B) == pytest.approx(low, rel=1e-3)
    assert class_temperature(-logits_BC, labels_B) == pytest.approx(high, rel=1e-3)
