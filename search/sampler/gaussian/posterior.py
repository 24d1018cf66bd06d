"""A Gaussian process over a few settings of its kernel, each weighted by how well it explains.

Given the settings s (lengths, noise, weights of the arms), n losses y at rows X are

    y ~ N(0, v (C + K_s(X, X) + s_noise I)),  v ~ InverseGamma(a, b),

with a constant C, the variance of the unknown mean. The scale v is integrated out exactly:

    log p(y | s) = -1/2 log|A| - (a + n/2) log(b + 1/2 y' A^-1 y) + constant,
    A = C + K_s(X, X) + s_noise I

(Rasmussen and Williams 2006, section 2.2; the prior of v makes it a Student t). The posterior at a
new row x has mean k' A^-1 y and variance E[v] (C + 1 - k' A^-1 k), k = C + K_s(X, x), where E[v]
is (b + 1/2 y' A^-1 y) / (a + n/2).

A handful of results says little about the lengths, so one best setting would be overconfident.
Settings are drawn from their prior (quasi-randomly), the best of them are varied twice, and the
`num_kept` best of all count, each in proportion to p(y | s) p(s).

A running trial has a row, but no loss. It counts as if its loss were the mean that each setting
expects: with its row added, the factor L of A = L L' grows by a line and L^-1 y by a 0. So means
stay and deviations near it shrink (Desautels et al. 2014, JMLR 15). An expected loss is no
evidence, so settings, weights and E[v] stay too.

Cost: one Cholesky factor of n x n per setting.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from search.sampler.gaussian.encoding import Rows
from search.sampler.gaussian.kernel import Kernel, Matrix

MEAN_VARIANCE = 1.0  # C
SHAPE, SCALE = 2.0, 1.0  # a, b: v is about 1, since losses are standardized
LENGTH, LENGTH_SPREAD = 0.5, 0.7  # prior of a length: median, and spread of its logarithm
NOISE, NOISE_SPREAD = 0.01, 1.5  # prior of the noise's share of the variance, likewise


@dataclass(frozen=True)
class Settings:
    """Several settings of the kernel, as independent standard normal numbers z under the prior.

    Attributes:
        z: (settings, parameters + 3): one per length, the noise, two of the arms' weights.

    """

    z: Matrix

    @property
    def log_lengths(self) -> Matrix:
        """Logarithms of the lengths, (settings, parameters)."""
        num = self.z.shape[1] - 3
        # In more dimensions random rows lie farther apart, by the root of the number.
        middle = np.log(LENGTH * np.sqrt(max(num, 1) / 2))
        lengths: Matrix = middle + LENGTH_SPREAD * self.z[:, :num]
        return lengths

    @property
    def noise(self) -> Matrix:
        """The noise's share of the variance, (settings,)."""
        noise: Matrix = NOISE * np.exp(NOISE_SPREAD * self.z[:, -3])
        return noise

    @property
    def weights(self) -> Matrix:
        """The weights of shared, arm's and own function, (settings, 3)."""
        raw = np.exp(np.concatenate([np.zeros((len(self.z), 1)), self.z[:, -2:]], axis=1))
        weights: Matrix = raw / raw.sum(axis=1, keepdims=True)
        return weights

    @property
    def log_prior(self) -> Matrix:
        """Logarithm of p(s), up to a constant, (settings,)."""
        density: Matrix = -0.5 * (self.z**2).sum(axis=1)
        return density


class Posterior:
    """The posterior of the losses.

    Attributes:
        settings: The settings that count.
        log_weights: The logarithms of their weights, which sum to 1.

    """

    def __init__(self, kernel: Kernel, settings: Settings, rows: Rows, losses: Matrix) -> None:
        self._kernel, self.settings = kernel, settings
        self._set_rows(rows)
        self._white = _solved(self._factor, losses[None, :, None])[:, :, 0]  # L^-1 y
        shape = SHAPE + len(rows) / 2
        scale = SCALE + 0.5 * (self._white**2).sum(axis=1)
        self._variance = scale / shape
        half_log_det = np.log(np.diagonal(self._factor, axis1=1, axis2=2)).sum(axis=1)
        log_density = settings.log_prior - half_log_det - shape * np.log(scale)
        self.log_density = log_density
        self.log_weights = log_density - np.logaddexp.reduce(log_density)

    def at(self, rows: Rows) -> tuple[Matrix, Matrix]:
        """Return means and standard deviations without noise, (settings, rows) each."""
        cross = MEAN_VARIANCE + self._correlations(rows)
        white = _solved(self._factor, np.swapaxes(cross, 1, 2))  # L^-1 k
        means = np.einsum("snm,sn->sm", white, self._white)
        shares = np.maximum(MEAN_VARIANCE + 1.0 - (white**2).sum(axis=1), 1e-10)
        return means, np.sqrt(self._variance[:, None] * shares)

    @property
    def noise(self) -> Matrix:
        """The variance of the noise, (settings,)."""
        noise: Matrix = self._variance * self.settings.noise
        return noise

    def mean(self, rows: Rows) -> Matrix:
        """Return the mean over the settings, (rows,)."""
        means: Matrix = np.exp(self.log_weights) @ self.at(rows)[0]
        return means

    def expecting(self, rows: Rows) -> Posterior:
        """Return the posterior while trials at these rows run: surer there, with the same means."""
        if not len(rows):
            return self
        posterior = copy.copy(self)
        posterior._set_rows(np.concatenate([self._rows, rows]))
        zeros = np.zeros((len(self._white), len(rows)))
        posterior._white = np.concatenate([self._white, zeros], axis=1)
        return posterior

    def best(self, num: int) -> Posterior:
        """Return the posterior under its `num` best settings."""
        order = np.argsort(-self.log_density, kind="stable")[:num]
        best = copy.copy(self)
        best.settings = Settings(self.settings.z[order])
        best._factor, best._white = self._factor[order], self._white[order]
        best._variance, best.log_density = self._variance[order], self.log_density[order]
        best.log_weights = best.log_density - np.logaddexp.reduce(best.log_density)
        return best

    def _set_rows(self, rows: Rows) -> None:
        self._rows = rows
        noise = self.settings.noise[:, None, None] * np.eye(len(rows))
        covariance = MEAN_VARIANCE + self._correlations(rows) + noise
        self._factor = np.linalg.cholesky(covariance).astype(np.float64, copy=False)

    def _correlations(self, rows: Rows) -> Matrix:
        distances = self._kernel.distances(rows, self._rows)
        settings = self.settings
        return self._kernel.correlations(distances, settings.log_lengths, settings.weights)


def fitted(
    kernel: Kernel, rows: Rows, losses: Matrix, draws: Matrix, num_kept: int = 6
) -> Posterior:
    """Return the posterior under the best of settings that are drawn, then varied twice.

    Args:
        kernel: The kernel.
        rows: The trials, (trials, parameters).
        losses: Their losses, standardized, (trials,).
        draws: Standard normal numbers, (draws, parameters besides groups + 3).
        num_kept: Number of settings that count in the end.

    """
    draws = np.concatenate([np.zeros((1, draws.shape[1])), draws])
    z = draws
    for spread in (0.5, 0.2, 0.0):
        best = Posterior(kernel, Settings(z), rows, losses).best(num_kept)
        if spread:
            centres = np.resize(best.settings.z, draws.shape)
            z = np.concatenate([best.settings.z, centres + spread * draws])
    return best


def _solved(factor: Matrix, right: Matrix) -> Matrix:
    """Solve L x = b for lower triangular factors L, (settings, n, n)."""
    from scipy.linalg.lapack import dtrtrs  # a third of the time of scipy's solve_triangular

    right = np.broadcast_to(right, (len(factor), *right.shape[1:]))
    return np.stack([dtrtrs(f, b, lower=1)[0] for f, b in zip(factor, right, strict=True)])
