"""Log loss after temperature scaling: how good the answers are, apart from their boldness.

min over T of mean_i -log softmax(z_i / T)[y_i], with z_i the logits and y_i the label of row i.

Fine-tuning makes a network too sure of itself: its log loss rises while its answers still improve.
One number, fitted to the rows that are scored, takes that away. It changes no answer.

Paper: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599 (T).
Cost: about 15 passes over the logits. Shapes: B rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LOG_LOSSES = ("log_loss", "calibrated_log_loss")
"""The metrics, as tasks name them."""
TEMPERATURES = (0.25, 8.0)
"""The range of T. Without an end, rows that are all right would be fitted to a loss of 0."""
PRECISION = 1e-4
"""Of log T; the loss is flat at its minimum, so it is off by less than 1e-6."""


def class_temperature(logits_BC: Tensor, labels_B: Tensor) -> float:
    """Return the best temperature of one label per row."""
    logits_BC = logits_BC.double()
    of_label_B = logits_BC.gather(1, labels_B.unsqueeze(1)).squeeze(1)

    def slope(scale: float) -> float:
        mean_B = ((scale * logits_BC).softmax(dim=1) * logits_BC).sum(dim=1)
        return float((mean_B - of_label_B).mean())

    return _temperature(slope)


def label_temperature(logits_BC: Tensor, labels_BC: Tensor) -> float:
    """Return the best temperature of labels that each have a probability of their own."""
    logits_BC, labels_BC = logits_BC.double(), labels_BC.double()

    def slope(scale: float) -> float:
        return float((((scale * logits_BC).sigmoid() - labels_BC) * logits_BC).mean())

    return _temperature(slope)


def _temperature(slope: Callable[[float], float]) -> float:
    """Return 1 / scale where the loss is least; `slope` is its derivative, which only rises."""
    low, high = (-math.log(each) for each in reversed(TEMPERATURES))
    if slope(math.exp(low)) >= 0:
        return math.exp(-low)
    if slope(math.exp(high)) <= 0:
        return math.exp(-high)
    while high - low > PRECISION:
        middle = (low + high) / 2
        if slope(math.exp(middle)) > 0:
            high = middle
        else:
            low = middle
    return math.exp(-(low + high) / 2)
