"""Correlations of predicted and true numbers: Pearson's r, and Spearman's rho.

r = sum (p - mean p)(y - mean y) / (|p - mean p| |y - mean y|); rho is the r of the ranks, where
equal numbers share the mean of their ranks (Spearman 1904). Both are in [-1, 1]. If all of one
side are equal they are undefined, and 0 here: such a guess says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pearson(one_N: NDArray[Any], other_N: NDArray[Any]) -> float:
    """Return Pearson's r of two series of equal length."""
    import numpy as np

    a_N, b_N = _centred(one_N), _centred(other_N)
    norm = float(np.linalg.norm(a_N) * np.linalg.norm(b_N))
    return float(np.clip(a_N @ b_N / norm, -1, 1)) if norm > 0 else 0.0


def spearman(one_N: NDArray[Any], other_N: NDArray[Any]) -> float:
    """Return Spearman's rho of two series of equal length."""
    return pearson(ranks(one_N), ranks(other_N))


def ranks(values_N: NDArray[Any]) -> NDArray[Any]:
    """Return the rank of each number from 1; equal ones share the mean of their ranks."""
    import numpy as np

    _, place_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks_N: NDArray[Any] = ((last - counts + 1 + last) / 2)[place_N]
    return ranks_N


def _centred(values_N: NDArray[Any]) -> NDArray[Any]:
    """Return the differences from the mean, in units of the largest; 0 if all are equal."""
    import numpy as np

    if len(values_N) == 0 or values_N.min() == values_N.max():
        return np.zeros(len(values_N))  # a mean that is rounded would leave a difference
    centred_N = values_N - values_N.mean()
    scaled_N: NDArray[Any] = centred_N / np.abs(centred_N).max()
    return scaled_N
