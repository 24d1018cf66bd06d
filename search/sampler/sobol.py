"""Points of a scrambled Sobol sequence, and the values of parameters at them.

Paper: Owen 1998, Scrambling Sobol' and Niederreiter-Xing points (J. Complexity 14).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution


def sobol_point(num_dimensions: int, number: int, seed: int) -> NDArray[Any]:
    """Return point `number` of the sequence of this seed, in [0, 1) in each dimension."""
    from scipy.stats.qmc import Sobol

    sequence = Sobol(num_dimensions, scramble=True, rng=seed % 2**32)
    if number:  # scipy's fast_forward(0) goes one back
        sequence.fast_forward(number)
    point: NDArray[Any] = sequence.random(1)[0]
    return point


def value_at(distribution: BaseDistribution, fraction: float) -> Any:
    """Return the value at a fraction in [0, 1) of a range, e.g. the middle at 0.5.

    All choices, and all whole numbers of a range without logarithm, get an equal part.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(fraction * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        start, end = math.log(low - half), math.log(high + half)
        value = math.exp(start + fraction * (end - start))
        value = min(max(value, low), high)
        return value if half == 0.0 else round(value)
    if step is None:
        return low + fraction * (high - low)
    num_steps = round((high - low) / step)
    at = low + int(fraction * (num_steps + 1)) * step
    return at if isinstance(distribution, IntDistribution) else min(round(at, 12), high)
