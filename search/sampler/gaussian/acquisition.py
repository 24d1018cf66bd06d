"""What a trial promises, and the row that promises most.

The expected improvement of a loss y ~ N(mu, sigma^2) over the best one b is

    EI = E[max(b - y, 0)] = sigma h((b - mu) / sigma),  h(z) = phi(z) + z Phi(z)

(Jones et al. 1998). Its logarithm is computed, since EI itself is 0 in floating point far from the
optimum (Ament et al. 2023, arXiv:2310.20708). The best loss is the lowest posterior mean at a
trial, since the lowest result may be luck.

Where sigma is below the noise tau, another trial says little, so EI is multiplied by

    w = 1 - tau / sqrt(sigma^2 + tau^2)

(Huang et al. 2006, augmented expected improvement). Without w, most late trials were repetitions of
the best one in all but name.

A weak prior says that the optimum is near the default: log(EI w) + (beta / n) log pi(x) is
maximized, where n is the number of results, so that it fades (Hvarfner et al. 2022,
arXiv:2204.11051). pi is normal around the default of each arm, and constant in a parameter that is
two standard deviations off or more: the next value of a choice of three is 2.5 off, and another
choice without order 5, although nothing says that it is that improbable.
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
FARTHEST = 2.0  # of the deviations by which the prior judges a parameter
REDRAWN = 0.2  # the share of choices that change in a row nearby


@dataclass(frozen=True)
class Prior:
    """Where the optimum is expected.

    Attributes:
        centres: The defaults of arms, (arms, parameters); none, and there is no prior.
        strength: beta / n.
        spread: The standard deviation of pi, as a share of each range; choices without order that
            differ are 1 apart.

    """

    centres: Rows
    strength: float
    spread: float = 0.2

    def log_density(self, kernel: Kernel, rows: Rows) -> Matrix:
        """Return (beta / n) log pi up to a constant, (rows,)."""
        if not len(self.centres) or not self.strength:
            return np.zeros(len(rows))
        distances = kernel.distances(rows, self.centres)
        squares = np.minimum(distances.squares / self.spread**2, FARTHEST**2).sum(axis=0)
        squares = np.where(distances.equal_groups == 1.0, squares, np.inf).min(axis=1)
        # An arm whose default is outside its ranges is neither favoured nor avoided.
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


def log_worth(ratio: Matrix) -> Matrix:
    """Return the logarithm of w, elementwise; `ratio` is sigma^2 / tau^2."""
    # w = 1 - 1 / root = ratio / (root (root + 1)), root = sqrt(1 + ratio), without cancellation.
    root = np.sqrt(1.0 + ratio)
    worth: Matrix = np.log(ratio) - np.log(root) - np.log1p(root)
    return worth


class Acquisition:
    """The logarithm of expected improvement, its worth and the prior, under a posterior."""

    def __init__(self, posterior: Posterior, kernel: Kernel, prior: Prior, rows: Rows) -> None:
        self._posterior, self._kernel, self._prior = posterior, kernel, prior
        self._best = posterior.at(rows)[0].min(axis=1, keepdims=True)

    def __call__(self, rows: Rows) -> Matrix:
        means, deviations = self._posterior.at(rows)
        improvement = log_expected_improvement(means, deviations, self._best)
        improvement += log_worth(deviations**2 / self._posterior.noise[:, None])
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
    rows = encoding.drawn(chance.random((NUM_DRAWN, len(encoding.axes))))
    centres, best, top = around, None, -np.inf
    for spread in SPREADS:
        if len(centres):
            rows = np.concatenate([rows, _near(centres, encoding, spread, chance)])
        rows = encoding.snapped(rows, fixed)
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
    found = np.where(is_unordered, np.where(jump, redrawn, rows), moved)
    # What the arm of the centre lacks is drawn, since the arm may have changed.
    return np.where(np.isnan(found), redrawn, found)


def _is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    same = (rows[:, None] == others[None]) | (np.isnan(rows[:, None]) & np.isnan(others[None]))
    found: NDArray[np.bool_] = same.all(axis=2).any(axis=1)
    return found
