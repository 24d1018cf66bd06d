"""Whether the interval of a verdict without a test split holds the true difference.

Two configurations are trained once on each of 2, 3 or 5 splits of the same 300 or 1,000 rows, and
score the validation rows of that split, a fifth or a third of the rows. Training moves how well a
model does by 0 to 0.08 standard deviations of a row (1 to 2 points of accuracy). The true
difference is 0 in one half of the verdicts, and some 2 points in the other.

    python benchmarks/certificate_splits.py [--quick]

prints for each cell the coverage of the 95 % interval, and how often "better" was said of two that
are equal. The splits share their rows, so the interval is made too wide rather than too narrow.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from shared_parts.argument import parser_of

from search.certificate.difference import difference_of_splits

SPLITS, POOLS = (2, 3, 5), ((300, 0.2), (1000, 0.2), (1000, 0.33))
DEVIATIONS, GAIN, LEVEL = (0.0, 0.04, 0.08), 0.075, 0.8
SHARED, OWN = 0.5, 0.2
"""Shares of the difficulty of a row: for both configurations, and for all models of one."""
NUM_VERDICTS, NUM_QUICK = 500, 100
LEAST, MOST_FALSE = 92.0, 3.0


@dataclass(frozen=True)
class Cell:
    """One combination of what is varied."""

    num_splits: int
    num_rows: int
    share: float
    deviation: float

    def truth(self, gain: float) -> float:
        """Return the true difference in points, over all rows and trainings."""
        scale = math.hypot(1, self.deviation)
        return 100 * float(ndtr((LEVEL + gain) / scale) - ndtr(LEVEL / scale))

    def interval(self, rng: np.random.Generator, gain: float) -> tuple[float, float]:
        """Return the interval of one simulated verdict."""
        both_N, own_2N = rng.standard_normal(self.num_rows), rng.standard_normal((2, self.num_rows))
        num = round(self.share * self.num_rows)
        sides: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
        for _ in range(self.num_splits):
            rows = rng.choice(self.num_rows, num, replace=False)
            for side, found, ahead in zip((0, 1), sides, (gain, 0.0), strict=True):
                model = LEVEL + ahead + self.deviation * rng.standard_normal()
                noise = math.sqrt(1 - SHARED - OWN) * rng.standard_normal(num)
                shared = math.sqrt(SHARED) * both_N[rows] + math.sqrt(OWN) * own_2N[side, rows]
                found.append(100.0 * (model + shared + noise > 0))
        return difference_of_splits(*sides).interval()


def simulated(cell: Cell, num: int) -> tuple[float, float]:
    """Return the coverage and the share of false "better" over `num` verdicts of each half."""
    rng = np.random.default_rng(list(repr(cell).encode()))
    held = false = 0
    for gain in (0.0, GAIN):
        truth = cell.truth(gain)
        for _ in range(num):
            low, high = cell.interval(rng, gain)
            held += low <= truth <= high
            false += gain == 0 and low > 0
    return 100 * held / (2 * num), 100 * false / num


def main() -> int:
    parser = parser_of(__doc__, "few verdicts in a cell")
    num = NUM_QUICK if parser.parse_args().quick else NUM_VERDICTS
    print(f"{2 * num} verdicts per cell; coverage and false 'better', in per cent")
    print("splits |  rows | share | deviation | coverage | false")
    found = []
    for num_splits, (num_rows, share), deviation in itertools.product(SPLITS, POOLS, DEVIATIONS):
        held, false = simulated(Cell(num_splits, num_rows, share, deviation), num)
        found.append((held, false))
        row = f"{num_splits:6d} | {num_rows:5d} | {share:5.2f} | {deviation:9.2f}"
        print(f"{row} | {held:8.1f} | {false:5.1f}", flush=True)
    least, mean = min(held for held, _ in found), sum(held for held, _ in found) / len(found)
    false = sum(share for _, share in found) / len(found)
    print(f"all: mean {mean:.1f}, least {least:.1f}, false 'better' {false:.1f}")
    good = least >= LEAST and false <= MOST_FALSE
    print("reached" if good else f"missed: least {LEAST}, false {MOST_FALSE}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
