"""The curve of a trial as its storage holds it: a list of validations of bounded length.

Optuna keeps one number a validation, which stock tools show. What else a validation measured stands
beside it, in one system attribute, as `[step, examples, epoch, training loss, validation loss,
metrics by name]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightning_modules.outcome import Point

MAX_VALIDATIONS = 100
"""A longer curve is thinned evenly, between its first and its last one: 100 take about 20 kB."""

StoredCurve = Sequence[Sequence[Any]]


class StoredPoint(NamedTuple):
    """A validation; the fields are those of `lightning_modules.outcome.Point`."""

    step: int
    examples: int
    epoch: float
    train_loss: float
    validation_loss: float
    metrics: Mapping[str, float]


def stored_point(point: Point) -> StoredPoint:
    """Return what is kept of a validation, with seven digits."""
    return StoredPoint(
        point.step,
        point.examples,
        _short(point.epoch),
        _short(point.train_loss),
        _short(point.validation_loss),
        {name: _short(value) for name, value in point.metrics.items()},
    )


def extended(curve: StoredCurve, point: Sequence[Any]) -> list[Any]:
    """Return the curve with a validation added at its end.

    >>> extended([[1, 16]], [2, 32])
    [[1, 16], [2, 32]]
    """
    kept = [*curve, list(point)]
    if len(kept) > MAX_VALIDATIONS:
        steps = [each[0] for each in kept]
        del kept[min(range(1, len(kept) - 1), key=lambda each: steps[each + 1] - steps[each - 1])]
    return kept


def points_of(curve: StoredCurve) -> list[StoredPoint]:
    """Return the validations of a stored curve."""
    return [StoredPoint(*values) for values in curve]


def _short(value: float) -> float:
    return float(f"{value:.7g}")
