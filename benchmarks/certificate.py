"""Whether the interval of a verdict holds the true difference as often as it says.

Two configurations are trained with 3, 5 or 10 seeds and score the same 200, 600 or 2,000 rows, in a
world whose true difference is known: 0 in one half of the simulated verdicts and 2 points in the
other. Seeds move the score by 0 to 2 points (standard deviation), and both configurations find the
same rows hard, to a lesser or greater extent. Scores are accuracy, F1, BLEU and perplexity.

    python benchmarks/certificate.py [--quick]

prints for each score and number of seeds the mean and the least coverage over all cells, and how
often "better" was said of two configurations that are equal, for three intervals: ours, that of one
seed with paired rows, and the percentile bootstrap over seeds and rows. The whole takes some 40
minutes of one core.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from certificate_parts.world import WORLDS, World
from numpy.typing import NDArray
from shared_parts.argument import parser_of

from search.certificate.difference import Scores, difference
from search.study.gain import half_width

SEEDS, ROWS = (3, 5, 10), (200, 600, 2000)
SEED_POINTS, SHARED = (0.0, 0.5, 1.0, 2.0), (0.3, 0.8)
GAIN_POINTS = 2.0
NUM_VERDICTS = 2000
"""Of each half of a cell: the Monte Carlo error of a coverage of 97 % is 0.27 points in a cell."""
NUM_BOOTSTRAPPED, NUM_RESAMPLES = 100, 500
LEAST, MEAN, MOST_FALSE = 92.0, (93.0, 98.5), 3.0
OURS, ONE_SEED, BOOTSTRAP = "ours", "one seed, paired", "bootstrap"


@dataclass(frozen=True)
class Cell:
    """One combination of what is varied."""

    world: str
    num_seeds: int
    num_rows: int
    seed_points: float
    shared: float


@dataclass
class Count:
    """What the verdicts of one cell came to by one kind of interval."""

    covered: int = 0
    verdicts: int = 0
    false_better: int = 0
    equal: int = 0

    def add(self, low: float, high: float, truth: float) -> None:
        self.verdicts += 1
        self.covered += low <= truth <= high
        if truth == 0:
            self.equal += 1
            self.false_better += low > 0

    @property
    def coverage(self) -> float:
        return 100 * self.covered / self.verdicts

    @property
    def false_share(self) -> float:
        return 100 * self.false_better / self.equal


def cells(quick: bool) -> Iterator[Cell]:
    rows, points = (ROWS[:1], SEED_POINTS[::3]) if quick else (ROWS, SEED_POINTS)
    for combination in itertools.product(WORLDS, SEEDS, rows, points, SHARED):
        yield Cell(*combination)


def simulated(cell: Cell, num: int, num_bootstrapped: int) -> dict[str, Count]:
    """Return the counts of `num` verdicts for each half of a cell, by the kind of interval."""
    rng = np.random.default_rng(list(repr(cell).encode()))
    counts: dict[str, Count] = defaultdict(Count)
    for gain in (0.0, GAIN_POINTS):
        world: World = WORLDS[cell.world].moved(gain, cell.seed_points)
        for index in range(num):
            one, other = world.drawn(rng, cell.num_seeds, cell.num_rows, cell.shared)
            low, high = difference(Scores(one), Scores(other)).interval()
            counts[OURS].add(low, high, world.truth)
            apart = one[0] - other[0]
            value, half = float(apart.mean()), half_width(apart.tolist())
            counts[ONE_SEED].add(value - half, value + half, world.truth)
            if index < num_bootstrapped:
                counts[BOOTSTRAP].add(*bootstrapped(rng, one, other), world.truth)
    return counts


def bootstrapped(
    rng: np.random.Generator, one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the percentile interval over drawn seeds and drawn rows."""
    num_seeds, num_rows = one.shape
    weights = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=NUM_RESAMPLES)
    values = np.zeros(NUM_RESAMPLES)
    for parts, sign in ((one, 1), (other, -1)):
        drawn = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=NUM_RESAMPLES)
        values += sign * ((drawn @ parts) * weights).sum(axis=1) / (num_seeds * num_rows)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def main() -> int:
    parser = parser_of(__doc__, "200 rows, few verdicts in a cell")
    parser.add_argument("--verdicts", type=int, help="of each half of a cell")
    asked = parser.parse_args()
    num = asked.verdicts or (100 if asked.quick else NUM_VERDICTS)
    found: dict[tuple[str, int, str], list[Count]] = defaultdict(list)
    for cell in cells(asked.quick):
        for kind, count in simulated(cell, num, min(num, NUM_BOOTSTRAPPED)).items():
            found[cell.world, cell.num_seeds, kind].append(count)
    print(f"{2 * num} verdicts per cell; coverage: mean (least), false 'better', in per cent")
    kinds = (OURS, ONE_SEED, BOOTSTRAP)
    print(" | ".join([f"{'score':12s}", "seeds", *(f"{kind:>24s}" for kind in kinds)]))
    for name, num_seeds in itertools.product(WORLDS, SEEDS):
        shown = [_shown(found[name, num_seeds, kind]) for kind in kinds]
        print(" | ".join([f"{name:12s}", f"{num_seeds:5d}", *shown]))
    every = [count for key, counts in found.items() if key[2] == OURS for count in counts]
    slack = 4 * math.sqrt(0.08 * 0.92 / (2 * num)) * 100 if asked.quick else 0.0
    least, mean = min(count.coverage for count in every), _mean(every)
    false = 100 * sum(c.false_better for c in every) / sum(c.equal for c in every)
    print(f"all: mean {mean:.2f}, least {least:.2f}, false 'better' {false:.2f}")
    good = least >= LEAST - slack and MEAN[0] <= mean <= MEAN[1] and false <= MOST_FALSE
    print("reached" if good else f"missed: least {LEAST}, mean {MEAN}, false {MOST_FALSE}")
    return 0 if good else 1


def _mean(counts: list[Count]) -> float:
    return sum(count.coverage for count in counts) / len(counts)


def _shown(counts: list[Count]) -> str:
    false = sum(count.false_share for count in counts) / len(counts)
    least = min(count.coverage for count in counts)
    return f"{_mean(counts):8.1f} ({least:5.1f}) {false:6.1f}  "


if __name__ == "__main__":
    sys.exit(main())
