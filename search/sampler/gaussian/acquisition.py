"""What a trial promises, and the row that promises most.

The expected improvement of a loss y ~ N(mu, sigma^2) over the best one b is

    EI = E[max(b - y, 0)] = sigma h((b - mu) / sigma),  h(z) = phi(z) + z Phi(z)

(Jones et al. 1998). Its logarithm is computed, since EI itself is 0 in floating point far from the
optimum (Ament et al. 2023, arXiv:2310.20708). The best loss is the lowest posterior mean at a
trial, since the lowest result may be luck.

A weak prior says that the optimum is near the default: log EI + (beta / n) log pi(x) is maximized,
where pi is normal around the default of each arm and n the number of results. So it fades (Hvarfner
et al. 2022, arXiv:2204.11051).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.sampler.gaussian.encoding import Encoding, Rows
from search.sampler.gaussian.kernel import Kernel, Matrix
from search.sampler.gaussian.posterior import Posterior

NUM_DRAWN, NUM_NEAR, NUM_CENTRES = 256, 96, 3
SPREADS = (0.1, 0.03, 0.01)  # of the rows near the best ones, round by round
REDRAWN = 0.2  # the share of choices that change in a row nearby


@dataclass(frozen=True)
class Prior:
    """Where the optimum is expected.

    Attributes:
        centres: The defaults of the arms, (arms, parameters); none, and there is no prior.
        strength: beta / n.
        spread: The standard deviation of pi, as a share of each range.

    """

    centres: Rows
    strength: float
    spread: float = 0.2

    def log_density(self, kernel: Kernel, rows: Rows) -> Matrix:
        """Return (beta / n) log pi up to a constant, (rows,)."""
        if not len(self.centres) or not self.strength:
            return np.zeros(len(rows))
        distances = kernel.distances(rows, self.centres)
        squares = distances.squares.sum(axis=0) / self.spread**2
        squares = np.where(distances.equal_groups == 1.0, squares, np.inf).min(axis=1)
        # An arm whose default was not tried yet is neither favoured nor avoided.
        log_density: Matrix = -0.5 * np.where(np.isinf(squares), 0.0, squares)
        return self.strength * log_density


def log_expected_improvement(means: Matrix, deviations: Matrix, best: Matrix) -> Matrix:
    """Return log EI of minimization, elementwise.

    >>> zero, one = np.array(0.0), np.array(1.0)
    >>> float(np.exp(log_expected_improvement(zero, one, zero)).round(4))
    0.3989
    """
    from scipy.special import erfcx, ndtr

    z = (best - means) / deviations
    log_phi = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = np.maximum(z, -1.0)
    log_near = np.log(np.exp(-0.5 * near**2) / np.sqrt(2 * np.pi) + near * ndtr(near))
    far = np.clip(-z, 1.0, 1e3)
    # h(-u) = phi(u) (1 - u Phi(-u) / phi(u)), which is about phi(u) / u^2 for large u.
    rest = 1.0 - np.sqrt(np.pi / 2) * far * erfcx(far / np.sqrt(2))
    log_h = np.where(z > -1.0, log_near, log_phi + np.log(rest))
    improvement: Matrix = log_h + np.log(deviations)
    return improvement


class Acquisition:
    """The logarithm of the expected improvement under a posterior, times the prior."""

    def __init__(self, posterior: Posterior, kernel: Kernel, prior: Prior, rows: Rows) -> None:
        self._posterior, self._kernel, self._prior = posterior, kernel, prior
        self._best = posterior.at(rows)[0].min(axis=1, keepdims=True)

    def __call__(self, rows: Rows) -> Matrix:
        means, deviations = self._posterior.at(rows)
        improvement = log_expected_improvement(means, deviations, self._best)
        weighted = np.logaddexp.reduce(self._posterior.log_weights[:, None] + improvement, axis=0)
        log_density = self._prior.log_density(self._kernel, rows)
        total: Matrix = weighted + log_density
        return total


def maximized(
    acquisition: Acquisition,
    encoding: Encoding,
    around: Rows,
    taken: Rows,
    fixed: Rows,
    chance: np.random.Generator,
) -> Rows | None:
    """Return the best of rows that are drawn at random, and near the best ones so far.

    Args:
        acquisition: What to maximize.
        encoding: The columns.
        around: Good trials, near which rows are also drawn.
        taken: Rows that must not be returned.
        fixed: A row of the values that are given; NaN where none is.
        chance: The random numbers.

    Returns:
        A row, or None if all that were drawn are taken.

    """
    num = len(encoding.axes)
    rows = encoding.drawn(chance.random((NUM_DRAWN, num)))
    centres, best, top = around, None, -np.inf
    for spread in SPREADS:
        rows = np.concatenate([rows, _near(centres, encoding, spread, chance)])
        rows = encoding.snapped(np.where(np.isnan(fixed), rows, fixed))
        rows = rows[~_is_among(rows, taken)]
        if not len(rows):
            return best
        values = acquisition(rows)
        order = np.argsort(-values, kind="stable")[:NUM_CENTRES]
        if values[order[0]] > top:
            best, top = rows[order[0]], values[order[0]]
        centres, rows = rows[order], rows[:0]
    return best


def _near(centres: Rows, encoding: Encoding, spread: float, chance: np.random.Generator) -> Rows:
    rows = np.resize(centres, (NUM_NEAR, len(encoding.axes)))
    moved = rows + spread * chance.standard_normal(rows.shape)
    redrawn = encoding.drawn(chance.random(rows.shape))
    is_unordered = np.array([axis.is_group or axis.is_category for axis in encoding.axes])
    jump = chance.random(rows.shape) < REDRAWN
    found: Rows = np.where(is_unordered, np.where(jump, redrawn, rows), moved)
    return found


def _is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    same = (rows[:, None] == others[None]) | (np.isnan(rows[:, None]) & np.isnan(others[None]))
    found: NDArray[np.bool_] = same.all(axis=2).any(axis=1)
    return found
