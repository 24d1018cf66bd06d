"""What an arm of a study tries after its default: its learning rate times 3, and divided by 3.

A default learning rate that is off by a factor of 3 costs more than most arms differ by. So two
trials that bracket it say more about an arm than two draws from its space
(`benchmarks/arms.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from search.space.space import Parameter, Values

LEARNING_RATE = "optimizer.lr"
FACTOR = 3.0
NEAR = 1.5
"""Two learning rates that differ by a smaller factor count as the same one."""


def opening(default: Values, arm: Mapping[str, Parameter]) -> tuple[Values, ...]:
    """Return the values by config path that an arm tries after its default, at most two.

    Other settings keep their defaults; one whose default lies outside its range is left out, and
    sampled. There is no value where the range ends at the default, and none at all if the arm
    searches no learning rate.

    Args:
        default: The arm's unmodified values, its choice of options included.
        arm: The arm's parameters by path.

    """
    parameter = arm.get(LEARNING_RATE)
    if parameter is None:
        return ()
    kept = {
        path: value for path, value in default.items() if path not in arm or arm[path].allows(value)
    }
    rates = _rates(float(default[LEARNING_RATE]), parameter)
    return tuple({**kept, LEARNING_RATE: rate} for rate in rates)


def is_near(one: float, other: float) -> bool:
    """Return whether two learning rates are too close to try both."""
    return one == other or (min(one, other) > 0 and max(one, other) / min(one, other) < NEAR)


def _rates(default: float, parameter: Parameter) -> Iterator[Any]:
    taken = [default]
    for factor in (FACTOR, 1 / FACTOR):
        rate = _nearest(float(f"{default * factor:.3g}"), parameter)
        if rate is not None and not any(is_near(rate, other) for other in taken):
            yield rate
            taken.append(rate)


def _nearest(rate: float, parameter: Parameter) -> Any:
    """Return the positive value of the range that is nearest by its logarithm, or None."""
    values = parameter.values
    if values is None:
        low, high = parameter.corners
        clipped = min(max(rate, low), high)
        return clipped if clipped > 0 else None
    rates = [value for value in values if isinstance(value, int | float) and value > 0]
    return min(rates, key=lambda value: abs(math.log(value / rate)), default=None)
