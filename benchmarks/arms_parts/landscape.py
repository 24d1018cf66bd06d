"""What an arm scores: an interpolation of recorded runs, or a formula of the same shape.

A landscape is the accuracy, in points, over the learning rate, the batch size and the length. Its
learning rate is counted from its best one, so that a study can be given any default.

The interpolation is a Gaussian process over log10 of learning rate, batch size and epochs; its
scale for the learning rate and its noise are those with the smallest error when each family of
runs, which share learning rate and batch size, is left out. It is asked between recorded runs only:
the lengths lie between the shortest and the longest one that every family has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas

RECORDS = Path(__file__).resolve().parents[1] / "records"
NUM_LENGTHS = 3
BATCH_SIZES = (8, 16, 32)
RANGE = math.log10(5)
"""An arm's range around its default, in decades."""
MIN_FAMILIES = 8
MAX_ERROR = 2.0
NUM_LANDSCAPES = 9


@dataclass(frozen=True)
class Landscape:
    """An arm's scores.

    Attributes:
        name: What it is of.
        points: Accuracy in points by (decades above the best learning rate, batch size, length).
        noise: Standard deviation from run to run, in points.
        error: Root mean square error of the interpolation, in points; 0 of a formula.
        beyond: Points by which its best score is above the best recorded one; 0 of a formula.

    """

    name: str
    points: Callable[[float, int, int], float]
    noise: float
    error: float = 0.0
    beyond: float = 0.0

    def scores(self, default: float) -> list[float]:
        """Return the score of every setting around a default, in decades above the best rate."""
        rates = default + np.linspace(-RANGE, RANGE, 41)
        every = product(rates.tolist(), BATCH_SIZES, range(NUM_LENGTHS))
        return [self.points(*each) for each in every]

    def top(self, default: float) -> float:
        """Return the best score in the range around a default, in decades above the best rate."""
        return max(self.scores(default))


def landscapes(folder: Path = RECORDS) -> list[Landscape]:
    """Return those of the recorded strategies and texts; formulas take the place of missing ones.

    An interpolation counts if its error is at most `MAX_ERROR`.
    """
    recorded = _recorded(folder) if (folder / "runs.parquet").is_file() else iter(())
    found = [each for each in recorded if each.error <= MAX_ERROR]
    return [*found, *formulas(NUM_LANDSCAPES - len(found))]


def formulas(number: int = NUM_LANDSCAPES) -> list[Landscape]:
    """Return landscapes by a formula, none of them recorded."""
    return [_formula(each) for each in range(number)]


def _formula(number: int) -> Landscape:
    """Return a parabola over the logarithm of the learning rate, steeper above its best."""
    chance = np.random.default_rng(number)
    curvature, length = chance.uniform(4, 12), chance.uniform(0, 1)

    def points(rate: float, batch_size: int, epochs: int) -> float:
        away = rate - 0.15 * math.log2(batch_size / 16)  # larger batches want larger rates
        steep = 1.5 if away > 0 else 1.0
        return float(-curvature * away * away * steep - length * (NUM_LENGTHS - 1 - epochs))

    return Landscape(f"formula {number}", points, noise=0.3)


def _recorded(folder: Path) -> Iterator[Landscape]:
    import pandas

    runs = pandas.read_parquet(folder / "runs.parquet")
    validations = pandas.read_parquet(
        folder / "validations.parquet", columns=["run", "number", "truth_accuracy"]
    )
    last = validations.dropna().sort_values("number").groupby("run")["truth_accuracy"].last()
    runs = runs[runs["num_rows"] == 400].merge(last, on="run")
    for (strategy, text), chosen in runs.groupby(["strategy", "text"]):
        if chosen["point"].nunique() >= MIN_FAMILIES:
            yield _interpolated(f"{strategy} {text}", chosen)


def _interpolated(name: str, runs: pandas.DataFrame) -> Landscape:
    common = set.intersection(*(set(each) for _, each in runs.groupby("point")["epochs"]))
    # At a length that few families have, a peak 6 points above all recorded runs was extrapolated.
    runs = runs[runs["epochs"].between(min(common), max(common))]
    lengths = np.geomspace(min(common), max(common), NUM_LENGTHS).tolist()
    scores = 100 * runs["truth_accuracy"].to_numpy()
    place = np.log10(runs[["lr", "batch_size", "epochs"]].to_numpy())
    family = runs["point"].to_numpy()
    fits = [_Fit(place, scores, scale, noise) for scale in (0.3, 0.5, 0.8) for noise in (0.3, 1, 2)]
    fit = min(fits, key=lambda each: each.error(family))
    low, high = place[:, 0].min(), place[:, 0].max()
    every = product(np.linspace(low, high, 61).tolist(), BATCH_SIZES, lengths)
    best = max(every, key=lambda each: fit(*each))

    def points(rate: float, batch_size: int, epochs: int) -> float:
        # Beyond the recorded rates the score is that of the last one.
        return fit(min(max(best[0] + rate, low), high), batch_size, lengths[epochs])

    beyond = fit(*best) - float(scores.max())
    return Landscape(name, points, _run_noise(runs), fit.error(family), beyond)


class _Fit:
    """A Gaussian process with a squared exponential kernel around the mean score."""

    def __init__(self, place: np.ndarray, scores: np.ndarray, scale: float, noise: float) -> None:
        self._place, self._scores, self._noise = place, scores, noise
        self._scales = np.array([scale, 0.6, 0.8])
        self._weights = self._solve(np.ones(len(scores), dtype=bool))
        self._known: dict[tuple[float, int, float], float] = {}

    def __call__(self, rate: float, batch_size: int, epochs: float) -> float:
        """Return the score at log10 of a learning rate, a batch size and a number of epochs."""
        key = (round(rate, 2), batch_size, epochs)
        if key not in self._known:
            at = np.array([[key[0], math.log10(batch_size), math.log10(epochs)]])
            mean = self._scores.mean()
            self._known[key] = float(mean + (self._kernel(at, self._place) @ self._weights)[0])
        return self._known[key]

    def error(self, family: np.ndarray) -> float:
        """Return the root mean square error at the runs of a family that is left out."""
        errors = []
        for each in np.unique(family):
            kept = family != each
            kernel = self._kernel(self._place[~kept], self._place[kept])
            guess = self._scores[kept].mean() + kernel @ self._solve(kept)
            errors += list(guess - self._scores[~kept])
        return float(np.sqrt(np.mean(np.square(errors))))

    def _solve(self, kept: np.ndarray) -> np.ndarray:
        place, scores = self._place[kept], self._scores[kept]
        covariance = self._kernel(place, place) + self._noise**2 * np.eye(len(scores))
        solved: np.ndarray = np.linalg.solve(covariance, scores - scores.mean())
        return solved

    def _kernel(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        distance = (one[:, None, :] - other[None, :, :]) / self._scales
        kernel: np.ndarray = self._scores.var() * np.exp(-0.5 * np.square(distance).sum(axis=2))
        return kernel


def _run_noise(runs: pandas.DataFrame) -> float:
    """Return the standard deviation between runs that differ in their seed alone, in points."""
    by_seed = runs.pivot_table("truth_accuracy", ["point", "epochs"], "seed").dropna()
    if by_seed.shape[1] < 2 or len(by_seed) < 3:
        return 0.3
    differences = 100 * (by_seed[0] - by_seed[1]).to_numpy()
    return float(np.sqrt(np.mean(np.square(differences)) / 2))
