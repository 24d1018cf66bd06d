"""Answers of a network in few bytes: the log-probabilities of all classes, a byte each."""

from __future__ import annotations

import numpy as np

SCALE = 64.0


def quantized(log_probabilities_NC: np.ndarray) -> np.ndarray:
    """Return bytes: 64 times the root of each amount, rounded, the likeliest class below others.

    >>> restored(quantized(np.log([[0.6, 0.39, 0.01]]))).round(2).tolist()
    [[-0.5, -0.94, -4.58]]
    """
    rounded = np.rint(SCALE * np.sqrt(np.maximum(-log_probabilities_NC, 0)))
    rows, best = np.arange(len(rounded)), log_probabilities_NC.argmax(axis=1)
    rounded = np.minimum(rounded, 255)
    tied = (rounded == rounded[rows, best][:, None]).sum(axis=1) > 1
    rounded[tied] += 1
    rounded[rows[tied], best[tied]] -= 1
    return np.minimum(rounded, 255).astype(np.uint8)


def restored(quantities: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of which `quantized` made bytes; the least is -15.9."""
    return -np.square(quantities / SCALE)
