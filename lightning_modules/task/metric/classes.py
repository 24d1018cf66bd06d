"""Metrics of logits over C classes.

brier: the squared distance sum_c (p_c - [c is the label])^2 (Brier 1950). mcc: Matthews'
correlation for C classes (Gorodkin 2004).

Shapes: B rows, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_modules.task.metric.binary import binary_scores
from lightning_modules.task.metric.calibration import class_temperature

if TYPE_CHECKING:
    from torch import Tensor


def one_class(
    logits_BC: Tensor, labels_B: Tensor, number: int, at_recall: float
) -> dict[str, float]:
    """Return the metrics of one class, by its number."""
    import torch

    logits_BC = logits_BC.double()
    others = [each for each in range(logits_BC.shape[1]) if each != number]
    # In place of its probability, which rounds to 1 and has no order there.
    odds_B = logits_BC[:, number] - torch.logsumexp(logits_BC[:, others], dim=1)
    answered_B = logits_BC.argmax(dim=1) == number
    return binary_scores(
        odds_B.numpy(), (labels_B == number).numpy(), answered_B.numpy(), at_recall
    )


def brier(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Return each row's squared distance, (B,)."""
    from torch.nn.functional import one_hot

    probabilities_BC = logits_BC.double().softmax(dim=1)
    distance_BC = probabilities_BC - one_hot(labels_B, logits_BC.shape[1])
    return distance_BC.square().sum(dim=1)


def calibrated(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Return the logits at their best temperature, in float64."""
    return logits_BC.double() / class_temperature(logits_BC, labels_B)


def mcc(counts_CC: Tensor) -> float:
    """Return Matthews' correlation for C classes (Gorodkin 2004), 0 if it is undefined.

    torchmetrics' version gives a constant guess 0.04 on unbalanced labels, and 1 on one label.
    """
    counts_CC = counts_CC.double()
    total, right = counts_CC.sum(), counts_CC.diagonal().sum()
    true_C, predicted_C = counts_CC.sum(dim=1), counts_CC.sum(dim=0)
    covariance = right * total - true_C @ predicted_C
    spread = (total**2 - true_C @ true_C) * (total**2 - predicted_C @ predicted_C)
    return float(covariance / spread.sqrt()) if spread > 0 else 0.0
