"""Worlds in which the true difference of two configurations is known.

How well model s of configuration a does on row i is drawn as

    x_a,s,i = m_a + b_a,s + sqrt(c) u_i + sqrt(d) v_a,i + sqrt(1 - c - d) e_a,s,i

with standard normal u, v, e, so that both configurations find the same rows hard (c), and all seeds
of one do (c + d); b ~ N(0, tau^2) is what a seed moves the model by. A world says what the rows
contribute to its score, and the score g(m) of a model at m on infinitely many rows. The true
difference is that of the means of g(m_a + b) over b.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lightning_modules.task.jackknife import MAX_VALUES, NUM_GROUPS

Array = NDArray[np.float64]
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class World(ABC):
    """A score, and two configurations in it.

    Attributes:
        level: m of the second configuration.
        ahead: By how much m of the first one is more.
        deviation: tau.

    """

    level: float = 0.8
    ahead: float = 0.0
    deviation: float = 0.0

    @abstractmethod
    def score(self, level: Array) -> Array:
        """Return g: the score, in points, of models on infinitely many rows."""

    @abstractmethod
    def parts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        """Return what each row contributes to the score of each model, in points.

        Args:
            rng: Draws what the rows have besides, e.g. their lengths.
            models: x of each configuration, (seeds, rows).

        """

    def moved(self, gain: float, seed_points: float) -> Self:
        """Return this world with a gain and a deviation over seeds in points of the score."""
        at, step = np.array([self.level]), 1e-4
        slope = float((self.score(at + step) - self.score(at - step))[0] / (2 * step))
        return replace(self, ahead=gain / slope, deviation=seed_points / slope)

    @cached_property
    def truth(self) -> float:
        """The true difference of the mean scores over seeds, in points."""
        if self.ahead == 0:
            return 0.0
        one, other = (
            float(WEIGHTS @ self.score(level + self.deviation * NODES))
            for level in (self.level + self.ahead, self.level)
        )
        return one - other

    def drawn(
        self, rng: np.random.Generator, num_seeds: int, num_rows: int, shared: float
    ) -> tuple[Array, Array]:
        """Return what each row contributes to the models of both, (seeds, rows or groups)."""
        own = (1 - shared) / 2
        common = math.sqrt(shared) * rng.standard_normal(num_rows)
        models = [
            level
            + self.deviation * rng.standard_normal((num_seeds, 1))
            + common
            + math.sqrt(own) * rng.standard_normal(num_rows)
            + math.sqrt(1 - shared - own) * rng.standard_normal((num_seeds, num_rows))
            for level in (self.level + self.ahead, self.level)
        ]
        one, other = self.parts(rng, models)
        return one, other


@dataclass(frozen=True)
class Accuracy(World):
    """The share of rows that are right: those with x > 0."""

    def score(self, level: Array) -> Array:
        return 100 * np.asarray(ndtr(level))

    def parts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        return [_group_means(100.0 * (x > 0)) for x in models]


class Ratio(World):
    """A score of sums over the rows, whose contributions are the jackknife's pseudo-values."""

    @abstractmethod
    def of_sums(self, sums: Array) -> Array:
        """Return the score of the sums of the rows' counts, (..., counts)."""

    @abstractmethod
    def counts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        """Return the counts of each row, (seeds, rows, counts)."""

    def parts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        return [self._pseudo_values(counts) for counts in self.counts(rng, models)]

    def _pseudo_values(self, counts: Array) -> Array:
        groups = _grouped(counts, NUM_GROUPS)  # (seeds, groups, counts)
        sums = groups.sum(axis=1, keepdims=True)
        number = groups.shape[1]
        return number * self.of_sums(sums) - (number - 1) * self.of_sums(sums - groups)


@dataclass(frozen=True)
class F1(Ratio):
    """F1 of a class that three rows of ten have, and that is found if x > 0.

    A row of the other class is taken for it if x < -`easier`.
    """

    positive: float = 0.3
    easier: float = 0.7

    def score(self, level: Array) -> Array:
        found = self.positive * ndtr(level)
        false = (1 - self.positive) * ndtr(-level - self.easier)
        return np.asarray(100 * 2 * found / (found + false + self.positive))

    def of_sums(self, sums: Array) -> Array:
        found, false, missed = np.moveaxis(sums, -1, 0)
        return np.asarray(100 * 2 * found / np.maximum(2 * found + false + missed, 1))

    def counts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        positive = rng.random(models[0].shape[1]) < self.positive
        return [
            np.stack(
                [positive & (x > 0), ~positive & (x < -self.easier), positive & (x <= 0)], axis=-1
            ).astype(float)
            for x in models
        ]


@dataclass(frozen=True)
class Bleu(Ratio):
    """The geometric mean of four shares of n-grams that match; of x comes the share of words."""

    def score(self, level: Array) -> Array:
        share = ndtr(np.asarray(level)[..., None] + NODES)  # over the rows
        means = [np.log((share**order) @ WEIGHTS) for order in range(1, 5)]
        return np.asarray(100 * np.exp(sum(means) / 4))

    def of_sums(self, sums: Array) -> Array:
        matched, total = sums[..., :4], sums[..., 4:]
        return np.asarray(100 * np.exp(np.log(matched / total).mean(axis=-1)))

    def counts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        lengths = rng.integers(8, 31, size=models[0].shape[1])
        total = (lengths[:, None] - np.arange(4)).astype(float)
        return [
            np.concatenate(
                [
                    total * ndtr(x)[..., None] ** np.arange(1, 5),
                    np.broadcast_to(total, (*x.shape, 4)),
                ],
                axis=-1,
            )
            for x in models
        ]


@dataclass(frozen=True)
class Perplexity(Ratio):
    """Minus exp of the mean loss per token; a document's loss per token is 3 exp(-x / 5)."""

    def score(self, level: Array) -> Array:
        return np.asarray(-np.exp(3 * np.exp(0.02 - level / 5)))

    def of_sums(self, sums: Array) -> Array:
        return np.asarray(-np.exp(sums[..., 0] / sums[..., 1]))

    def counts(self, rng: np.random.Generator, models: list[Array]) -> list[Array]:
        tokens = np.ceil(np.exp(4 + 0.6 * rng.standard_normal(models[0].shape[1])))
        return [
            np.stack([tokens * 3 * np.exp(-x / 5), np.broadcast_to(tokens, x.shape)], axis=-1)
            for x in models
        ]


def _group_means(parts: Array) -> Array:
    groups = _grouped(parts[..., None], MAX_VALUES)[..., 0]
    sizes = np.bincount(np.arange(parts.shape[1]) % groups.shape[1])
    return np.asarray(groups / sizes)


def _grouped(counts: Array, most: int) -> Array:
    """Return sums over groups of rows; row r is in group r modulo their number."""
    num_seeds, num_rows, num_counts = counts.shape
    number = min(num_rows, most)
    padded = np.zeros((num_seeds, -(-num_rows // number) * number, num_counts))
    padded[:, :num_rows] = counts
    return padded.reshape(num_seeds, -1, number, num_counts).sum(axis=1)


WORLDS: dict[str, World] = {
    "accuracy": Accuracy(),
    "f1": F1(),
    "bleu": Bleu(),
    "perplexity": Perplexity(),
}
