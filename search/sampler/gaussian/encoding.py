"""Trials as rows of numbers, and back.

A row has one column per parameter of the space. An interval or a stepped range becomes a position
in [0, 1], on a log scale if the range has one. So does a choice of numbers, e.g. of batch sizes 8,
16 and 32: they are ordered, and their scale is the one on which they are spaced more evenly. Other
choices become their index. A parameter that does not exist in a row's arm is NaN. A number that was
tried before its range was narrowed has a position below 0 or above 1, so that a model still learns
from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.space.space import contains

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from search.space.space import Space

Rows = NDArray[np.float64]
MAX_VALUES = 1000  # a range of more values is rounded, not looked up
ROUNDING = 1e-9  # of a position at an end of its range


@dataclass(frozen=True)
class Axis:
    """A parameter as a column.

    Attributes:
        name: The parameter's name in Optuna.
        distribution: Its range.
        values: All values of a choice or a stepped range; None for an interval.
        is_group: Whether it chooses the arm.
        is_shared: Whether it exists in every arm.

    """

    name: str
    distribution: BaseDistribution
    values: Sequence[Any] | None
    is_group: bool
    is_shared: bool

    @cached_property
    def positions(self) -> tuple[float, ...] | None:
        """The positions of a choice's numbers in [0, 1]; None if it is no choice of numbers."""
        choices = getattr(self.distribution, "choices", None)
        if choices is None or self.is_group or not all(map(_is_number, choices)):
            return None
        numbers = [float(choice) for choice in choices]
        if len(set(numbers)) < 2:
            return None
        plain = _scaled(numbers)
        if min(numbers) <= 0:
            return plain
        logarithmic = _scaled([math.log(number) for number in numbers])
        return logarithmic if _unevenness(logarithmic) < _unevenness(plain) else plain

    @property
    def is_category(self) -> bool:
        """Whether its values have no order."""
        return hasattr(self.distribution, "choices") and self.positions is None

    def encoded(self, value: Any) -> float:
        """Return the number of a value: a position, in [0, 1] inside the range, or an index."""
        internal = float(self.distribution.to_internal_repr(value))
        if hasattr(self.distribution, "choices"):
            return internal if self.positions is None else self.positions[int(internal)]
        low, high, log = (getattr(self.distribution, name) for name in ("low", "high", "log"))
        if low == high:
            return 0.5
        if log:
            low, high, internal = math.log(low), math.log(high), math.log(internal)
        position = float((internal - low) / (high - low))
        end = min(max(position, 0.0), 1.0)
        return end if abs(position - end) < ROUNDING else position

    def places(self, value: Any) -> bool:
        """Return whether the value has a place: in the range, or a number beyond its ends."""
        is_interval = not hasattr(self.distribution, "choices") and not self.distribution.single()
        return is_interval or contains(self.distribution, value)

    def decoded(self, number: float) -> Any:
        """Return the value of this range that is nearest to a number."""
        values = self._values
        if values is not None:
            return values[int(np.argmin(np.abs(self._grid - number)))]
        low, high, log = (getattr(self.distribution, name) for name in ("low", "high", "log"))
        if not 0.0 < number < 1.0:
            return low if number <= 0.0 else high  # exp(log(1e-6)) is 1.0000000000000004e-06
        if log:
            low, high = math.log(low), math.log(high)
        value = low + number * (high - low)
        value = math.exp(value) if log else value
        low, high, step = (getattr(self.distribution, name) for name in ("low", "high", "step"))
        if step is not None:
            value = low + round((value - low) / step) * step
            value = value if isinstance(low, int) else round(value, 12)
        return min(max(value, low), high)

    def at(self, fractions: Rows) -> Rows:
        """Return the numbers at fractions in [0, 1) of the range; all choices get equal parts."""
        if self._values is None:
            return fractions
        numbers: Rows = self._grid[(fractions * len(self._grid)).astype(int)]
        return numbers

    def snapped(self, numbers: Rows) -> Rows:
        """Return the nearest numbers that stand for values of the range."""
        if self._values is None:
            return np.clip(numbers, 0.0, 1.0)
        nearest: Rows = self._grid[np.abs(numbers[:, None] - self._grid).argmin(axis=1)]
        return nearest

    @cached_property
    def _values(self) -> Sequence[Any] | None:
        return self.values if self.values is not None and len(self.values) <= MAX_VALUES else None

    @cached_property
    def _grid(self) -> Rows:
        return np.array([self.encoded(value) for value in self._values or ()])


class Encoding:
    """The columns of a space, and the rows of its trials.

    Attributes:
        axes: One per column: the groups first.

    """

    def __init__(self, space: Space) -> None:
        arms = [{parameter.name for parameter in arm.values()} for arm in space.arms.values()]
        self.axes = [
            Axis(
                name,
                parameter.distribution,
                parameter.values,
                name in space.groups,
                name in space.groups or all(name in arm for arm in arms),
            )
            for name, parameter in space.parameters.items()
        ]
        self._arms = {
            options: {*space.groups, *(parameter.name for parameter in arm.values())}
            for options, arm in space.arms.items()
        }
        self._groups = tuple(space.groups)

    def row(self, params: Mapping[str, Any]) -> list[float]:
        """Return the row of a trial's parameters by name."""
        return [
            axis.encoded(params[axis.name]) if axis.name in params else math.nan
            for axis in self.axes
        ]

    def rows(self, trials: Sequence[Mapping[str, Any]]) -> Rows:
        """Return the rows of several trials' parameters by name, (trials, columns)."""
        rows = [self.row(params) for params in trials]
        return np.array(rows, dtype=float).reshape(-1, len(self.axes))

    def params(self, row: Sequence[float] | Rows) -> dict[str, Any]:
        """Return the parameters of a row by name."""
        return {
            axis.name: axis.decoded(float(number))
            for axis, number in zip(self.axes, row, strict=True)
            if not math.isnan(number)
        }

    def places(self, params: Mapping[str, Any]) -> bool:
        """Return whether these are all parameters of an arm, and each has a place on its axis.

        A trial that a worker has just claimed has none yet.
        """
        arm = self._arms.get(tuple(str(params.get(group)) for group in self._groups))
        return arm == set(params) and all(
            axis.places(params[axis.name]) for axis in self.axes if axis.name in params
        )

    def inside(self, rows: Rows) -> Rows:
        """Return the rows whose numbers are all in their ranges."""
        is_choice = [axis.is_group or axis.is_category for axis in self.axes]
        is_within = (np.abs(rows - 0.5) <= 0.5) | np.isnan(rows) | np.array(is_choice)
        found: Rows = rows[is_within.all(axis=1)]
        return found

    def in_arm(self, rows: Rows, fixed: Rows) -> Rows:
        """Return the rows of the arms that fixed numbers allow; NaN allows all."""
        groups = [
            at for at, axis in enumerate(self.axes) if axis.is_group and not np.isnan(fixed[at])
        ]
        found: Rows = rows[(rows[:, groups] == fixed[groups]).all(axis=1)]
        return found

    def drawn(self, fractions: Rows) -> Rows:
        """Return the rows at fractions in [0, 1) of every range, (rows, columns).

        They have a number in every column; `snapped` takes away what their arm lacks.
        """
        columns = [axis.at(column) for axis, column in zip(self.axes, fractions.T, strict=True)]
        return np.stack(columns, axis=1)

    def snapped(self, rows: Rows, fixed: Rows | None = None) -> Rows:
        """Return the nearest rows that stand for values, without what their arms lack.

        Args:
            rows: Rows with a number wherever their arms have one.
            fixed: A row of numbers that take the place of theirs, e.g. of an arm; NaN elsewhere.

        """
        if fixed is not None:
            rows = np.where(np.isnan(fixed), rows, fixed)
        columns = [axis.snapped(column) for axis, column in zip(self.axes, rows.T, strict=True)]
        return self._without_missing(np.stack(columns, axis=1))

    def _without_missing(self, rows: Rows) -> Rows:
        """Make NaN what the arms of the rows lack."""
        if not self._groups:
            return rows
        rows = rows.copy()
        groups = [at for at, axis in enumerate(self.axes) if axis.is_group]
        for options, names in self._arms.items():
            choice = [self.axes[at].encoded(o) for at, o in zip(groups, options, strict=True)]
            is_here = (rows[:, groups] == choice).all(axis=1)
            for at, axis in enumerate(self.axes):
                if axis.name not in names:
                    rows[is_here, at] = math.nan
        return rows


def _is_number(choice: object) -> bool:
    return isinstance(choice, int | float) and not isinstance(choice, bool)


def _scaled(numbers: Sequence[float]) -> tuple[float, ...]:
    low, high = min(numbers), max(numbers)
    return tuple((number - low) / (high - low) for number in numbers)


def _unevenness(positions: Sequence[float]) -> float:
    ordered = sorted(positions)
    gaps = [after - before for before, after in pairwise(ordered)]
    return max(gaps) - min(gaps)
