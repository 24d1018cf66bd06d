"""Problems with a known answer, on which samplers are compared.

- `lora`: public sweeps of LoRA on 21 decoders of 1B to 550B, learning rate x rank, see
  `benchmarks/tables/lora_sweeps.csv`. Between the four learning rates the loss is interpolated
  (monotone cubic in the logarithm), from 1e-3 on it rises, and beyond 1.7e-3 every run diverges.
- `shapes`: made-up landscapes of learning rate x batch size x epochs as fine-tuning has them: a
  valley in the logarithm of the rate that shifts with the batch, steeper above than below, and a
  cliff beyond which runs diverge. The default is up to 0.8 decades off.
- `choice`: the same with a choice without order, of four schedules.
- `arms`: three strategies, each with a learning rate of its own, a rank in one of them, and a
  default that is off by up to a factor of six.
- `functions`: Branin (2 parameters), Hartmann 3 and 6, in the literature's ranges.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.interpolate import PchipInterpolator

from search.space.space import Parameter, Space

TABLE = Path(__file__).parents[1] / "tables" / "lora_sweeps.csv"
LAST_RATE, DIVERGING_RATE = 1e-3, 1.7e-3

Values = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """A function to minimize.

    Attributes:
        family: Problems of one kind, over which results are averaged.
        name: The problem's name.
        space: What varies.
        defaults: The configurations that are tried first, by config path: one of each arm.
        loss: The loss of a configuration; None if it diverges.

    """

    family: str
    name: str
    space: Space
    defaults: tuple[Values, ...]
    loss: Callable[[Values], float | None]

    @property
    def random_losses(self) -> list[float | None]:
        """The losses of 5,000 random configurations, always the same."""
        return _random_losses(self)

    @property
    def best(self) -> float:
        """The lowest loss: of random configurations, improved by small steps."""
        return _best(self)

    @property
    def spread(self) -> float:
        """How much the median of the random configurations that do not diverge is above `best`."""
        return (
            float(np.median([loss for loss in self.random_losses if loss is not None])) - self.best
        )


def problems(num_shapes: int) -> Iterator[Problem]:
    """Yield all problems, `num_shapes` of each kind that is made up."""
    yield from _lora()
    for seed in range(num_shapes):
        yield _shape(seed)
        yield _choice(seed)
        yield _arms(seed)
    yield from _functions()


def interpolation_error() -> float:
    """Return how far interpolation misses a published loss that it was not given.

    A share of the table's spread, on average over the two inner learning rates of every row.
    """
    errors = []
    for rates, ranks in _tables().values():
        losses = np.array(list(ranks.values()))
        spread = float(np.median(losses) - losses.min())
        for at in (1, 2):
            kept = [0, 3 - at, 3]
            for row in losses:
                guess = PchipInterpolator(np.log(rates[kept]), row[kept])(np.log(rates[at]))
                errors.append(abs(float(guess) - row[at]) / spread)
    return float(np.mean(errors))


def published_losses() -> Iterator[tuple[str, list[float], Callable[[float], float | None]]]:
    """Yield a model, its published losses, and its loss by learning rate, for each rank."""
    for model, (rates, ranks) in _tables().items():
        loss = _table_loss(rates, ranks)
        for rank, losses in ranks.items():
            yield model, losses, partial(_loss_at, loss, rank)


def _loss_at(loss: Callable[[Values], float | None], rank: int, lr: float) -> float | None:
    return loss({"lr": lr, "rank": rank})


def space_of(**ranges: BaseDistribution) -> Space:
    """Return a space of one arm."""
    return Space({}, {(): {path: _parameter(path, path, r) for path, r in ranges.items()}})


def _parameter(name: str, path: str, distribution: BaseDistribution) -> Parameter:
    return Parameter(name, path, str(distribution), distribution)


@cache
def _tables() -> dict[str, tuple[Any, dict[int, list[float]]]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    head, *rows = csv.reader(line for line in lines if not line.startswith("#"))
    rates = np.array([float(rate) for rate in head[2:]])
    tables: dict[str, tuple[Any, dict[int, list[float]]]] = {}
    for model, rank, *losses in rows:
        tables.setdefault(model, (rates, {}))[1][int(rank)] = [float(loss) for loss in losses]
    return tables


def _lora() -> Iterator[Problem]:
    for model, (rates, ranks) in _tables().items():
        space = space_of(
            lr=FloatDistribution(4e-5, 3e-3, log=True), rank=CategoricalDistribution(tuple(ranks))
        )
        default = {"lr": 3e-4, "rank": sorted(ranks)[1]}
        yield Problem("lora", model, space, (default,), _table_loss(rates, ranks))


def _table_loss(rates: Any, ranks: Mapping[int, list[float]]) -> Callable[[Values], float | None]:
    curves = {rank: PchipInterpolator(np.log(rates), losses) for rank, losses in ranks.items()}
    spans = {rank: max(losses) - min(losses) for rank, losses in ranks.items()}

    def loss(values: Values) -> float | None:
        if values["lr"] > DIVERGING_RATE:
            return None
        beyond = max(math.log(values["lr"] / LAST_RATE), 0.0) / math.log(DIVERGING_RATE / LAST_RATE)
        known = float(curves[values["rank"]](math.log(min(values["lr"], LAST_RATE))))
        return known + spans[values["rank"]] * beyond**2

    return loss


RATE = FloatDistribution(1e-5, 1e-2, log=True)
BATCH = CategoricalDistribution((8, 16, 32))
EPOCHS = IntDistribution(1, 3)


def _valley(chance: np.random.Generator) -> Callable[[Values], float | None]:
    middle, shift = chance.uniform(-4.3, -2.7), chance.uniform(0.2, 0.8)
    above, below = chance.uniform(1.0, 4.0), chance.uniform(0.2, 1.0)
    batch, epochs = chance.uniform(0.0, 0.04), chance.uniform(0.0, 0.25)
    cliff = chance.uniform(0.7, 1.3)

    def loss(values: Values) -> float | None:
        octaves = math.log2(values["batch"] / 16)
        decades = math.log10(values["lr"]) - middle - shift * octaves * math.log10(2)
        if decades > cliff:
            return None
        valley = (above if decades > 0 else below) * decades**2
        missing = epochs * (3 - values["epochs"]) / 2 * (1.0 if decades < 0 else 0.3)
        return float(0.5 + valley + batch * (octaves - 0.3) ** 2 + missing)

    return loss


def _shape(seed: int) -> Problem:
    loss = _valley(np.random.default_rng([0, seed]))
    space = space_of(lr=RATE, batch=BATCH, epochs=EPOCHS)
    default = {"lr": 10**-3.5, "batch": 16, "epochs": 2}
    return Problem("shapes", str(seed), space, (default,), loss)


def _choice(seed: int) -> Problem:
    chance = np.random.default_rng([1, seed])
    valley, costs = _valley(chance), chance.uniform(0.0, 0.3, 4)

    def loss(values: Values) -> float | None:
        known = valley(values)
        return None if known is None else known + float(costs["abcd".index(values["schedule"])])

    schedule = CategoricalDistribution(("a", "b", "c", "d"))
    space = space_of(lr=RATE, batch=BATCH, epochs=EPOCHS, schedule=schedule)
    default = {"lr": 10**-3.5, "batch": 16, "epochs": 2, "schedule": "a"}
    return Problem("choice", str(seed), space, (default,), loss)


def _arms(seed: int) -> Problem:
    chance = np.random.default_rng([2, seed])
    names = ("lora", "full", "frozen")
    floors = dict(zip(names, chance.uniform(0.0, 0.4, 3), strict=True))
    middles = {"lora": -3.5, "full": -4.5, "frozen": -2.0}  # of the ranges, two decades wide
    optima = {name: middle + chance.uniform(-0.8, 0.8) for name, middle in middles.items()}
    steep = chance.uniform(0.3, 1.5, 3)

    def loss(values: Values) -> float | None:
        name = values["strategy"]
        decades = math.log10(values["lr"]) - optima[name]
        rank = 0.02 * (math.log2(values["rank"]) - 4) ** 2 if name == "lora" else 0.0
        valley = steep[names.index(name)] * decades**2 * (2.0 if decades > 0 else 1.0)
        return float(floors[name] + valley + rank)

    epochs = _parameter("epochs", "epochs", EPOCHS)
    arms = {}
    for name in names:
        rate = FloatDistribution(10 ** (middles[name] - 1), 10 ** (middles[name] + 1), log=True)
        arms[(name,)] = {"lr": _parameter(f"lr[{name}]", "lr", rate), "epochs": epochs}
    rank = CategoricalDistribution((4, 8, 16, 32))
    arms[("lora",)]["rank"] = _parameter("rank", "rank", rank)
    defaults = [{"strategy": name, "lr": 10 ** middles[name], "epochs": 2} for name in names]
    defaults[0]["rank"] = 8
    return Problem("arms", str(seed), Space({"strategy": names}, arms), tuple(defaults), loss)


def _functions() -> Iterator[Problem]:
    plane = {"x": FloatDistribution(-5, 10), "y": FloatDistribution(0, 15)}
    centre = {"x": 2.5, "y": 7.5}
    yield Problem("functions", "branin", space_of(**plane), (centre,), _branin)
    for num in (3, 6):
        cube = {f"x{at}": FloatDistribution(0, 1) for at in range(num)}
        centre = dict.fromkeys(cube, 0.5)
        yield Problem("functions", f"hartmann{num}", space_of(**cube), (centre,), _hartmann(num))


def _branin(values: Values) -> float:
    x, y = values["x"], values["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


# Surjanovic and Bingham, Virtual library of simulation experiments.
_HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_SCALES = {
    3: [[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]],
    6: [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ],
}
_CENTRES = {
    3: [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]],
    6: [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ],
}


def _hartmann(num: int) -> Callable[[Values], float]:
    scales, centres = np.array(_SCALES[num]), 1e-4 * np.array(_CENTRES[num])

    def loss(values: Values) -> float:
        point = np.array([values[f"x{at}"] for at in range(num)])
        return -float(_HEIGHTS @ np.exp(-(scales * (point - centres) ** 2).sum(axis=1)))

    return loss


@cache
def _random_values(problem: Problem) -> list[dict[str, Any]]:
    from search.sampler.gaussian.encoding import Encoding

    encoding = Encoding(problem.space)
    fractions = np.random.default_rng(0).random((5000, len(encoding.axes)))
    rows = encoding.snapped(encoding.drawn(fractions))
    return [problem.space.by_path(encoding.params(row)) for row in rows]


@cache
def _random_losses(problem: Problem) -> list[float | None]:
    return [problem.loss(values) for values in _random_values(problem)]


@cache
def _best(problem: Problem) -> float:
    from search.sampler.gaussian.encoding import Encoding

    encoding = Encoding(problem.space)
    losses = [math.inf if loss is None else loss for loss in problem.random_losses]
    chance = np.random.default_rng(1)
    order = np.argsort(losses)[:20]
    rows = [encoding.row(problem.space.by_name(_random_values(problem)[at])) for at in order]
    best = losses[order[0]]
    for spread in (0.05, 0.02, 0.01, 3e-3, 1e-3, 3e-4, 1e-4):
        found = []
        for row in rows:
            near = np.array(row) + spread * chance.standard_normal((60, len(row)))
            is_group = np.array([axis.is_group or axis.is_category for axis in encoding.axes])
            near = encoding.snapped(np.where(is_group, row, near))
            for other in (*near, row):
                loss = problem.loss(problem.space.by_path(encoding.params(other)))
                found.append((math.inf if loss is None else loss, list(map(float, other))))
        found.sort(key=lambda pair: pair[0])
        best, rows = min(best, found[0][0]), [row for _, row in found[:5]]
    return best
