"""The correlation of two trials' losses, before any is known.

Two trials of one arm that differ by d_i in parameter i have the correlation

    m(r),  r^2 = sum_i (d_i / l_i)^2,  m(r) = (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r),

the Matern kernel of smoothness 5/2 with a length l_i per parameter (Rasmussen and Williams 2006,
equation 4.17). For a choice without order, d_i is 1 if the two differ, else 0.

With several arms, the loss is a sum of three functions: one of the parameters that all arms share,
one of these that is different for each arm, and one of all parameters of an arm. So

    k = m(r_shared) (w_1 + w_2 e + w_3 [same arm] m(r_own)),  w_1 + w_2 + w_3 = 1,

where e is the share of groups whose options are equal. A parameter that only one of the two has
does not count, and k is a kernel, being made of sums and products of kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.sampler.gaussian.encoding import Axis, Rows

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Distances:
    """How far each row of one set is from each of another.

    Attributes:
        squares: Squared differences d_i^2, (parameters, rows, others); 0 if one of the two lacks i.
        equal_groups: The share of groups with equal options, (rows, others); 1 without groups.

    """

    squares: Matrix
    equal_groups: Matrix


class Kernel:
    """The kernel of a space with these columns.

    Attributes:
        num_lengths: Number of parameters besides groups: that many lengths l_i.
        has_arms: Whether there are groups, and so the weights w.

    """

    def __init__(self, axes: list[Axis]) -> None:
        self._groups = [at for at, axis in enumerate(axes) if axis.is_group]
        self._columns = [at for at, axis in enumerate(axes) if not axis.is_group]
        self._is_category = np.array([axes[at].is_category for at in self._columns], dtype=bool)
        self._is_shared = np.array([axes[at].is_shared for at in self._columns], dtype=bool)
        self.num_lengths = len(self._columns)
        self.has_arms = bool(self._groups)

    def distances(self, rows: Rows, others: Rows) -> Distances:
        """Return the distances of two sets of rows."""
        gaps = rows[:, None, self._columns] - others[None, :, self._columns]
        gaps = np.where(self._is_category, gaps != 0.0, gaps)
        gaps = np.where(
            np.isnan(rows[:, None, self._columns] + others[None, :, self._columns]), 0.0, gaps
        )
        equal = np.ones((len(rows), len(others)))
        if self.has_arms:
            equal = (rows[:, None, self._groups] == others[None, :, self._groups]).mean(axis=2)
        return Distances(np.moveaxis(gaps**2, 2, 0), equal)

    def correlations(self, distances: Distances, log_lengths: Matrix, weights: Matrix) -> Matrix:
        """Return the correlations under several settings, (settings, rows, others).

        Args:
            distances: Of rows and others.
            log_lengths: Logarithms of the lengths l, (settings, parameters).
            weights: The weights w, (settings, 3); without arms they do not count.

        """
        inverse = np.exp(-2.0 * log_lengths)
        shared = _matern(np.tensordot(inverse * self._is_shared, distances.squares, axes=1))
        if not self.has_arms:
            return shared
        own = _matern(np.tensordot(inverse * ~self._is_shared, distances.squares, axes=1))
        w = weights[:, :, None, None]
        own *= distances.equal_groups == 1.0
        return shared * (w[:, 0] + w[:, 1] * distances.equal_groups + w[:, 2] * own)


def _matern(squares: Matrix) -> Matrix:
    root = np.sqrt(5.0 * squares)
    correlation: Matrix = (1.0 + root + root**2 / 3.0) * np.exp(-root)
    return correlation
