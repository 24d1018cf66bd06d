"""How often a study of three or six arms finds the best one: jointly, apart, or in turn.

An arm scores what recorded runs of a strategy on a text scored, interpolated, or a formula where
too few are recorded (`arms_parts/landscape.py`). Its default learning rate is off its best one by a
factor drawn from 1/3 to 3. Its height is drawn from a normal distribution with a standard deviation
of 1.5 points. A study found the best arm if the arm of its best trial is at most 0.2 points behind,
at its best setting. What a study loses is the score of the best setting of all arms, minus that of
the trial that it chooses, both without noise.

The scores of the first table are exact; those of the second have the noise from run to run. That of
few validation rows, which is larger, is the matter of `selection.py`.

    python benchmarks/arms.py [--quick] [--formulas] [--studies N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import optuna
from arms_parts.landscape import Landscape, formulas, landscapes
from arms_parts.study import Arm, Chosen, Way, run_study

from search.config.settings import Arms

WAYS = (
    Way("in turn"),
    Way("in turn, TPE inside", "tpe"),
    Way("in turn, random inside", "random"),
    Way("in turn, without x3 and /3", opens=False),
    Way("in turn, no arm drops out", halves=False),
    Way("separate studies", arms=None),
    Way("joint study", arms=Arms.joint),
    Way("joint study, TPE", "tpe", Arms.joint),
)
SETUPS = ((3, 12), (3, 24), (6, 12), (6, 24), (6, 36))
QUICK = ((3, 12), (6, 24))
TARGETS = {3: 0.95, 6: 0.85}
HEIGHT = 1.5
TIE = 0.2
FACTOR = 3.0


def drawn(found: Sequence[Landscape], number: int, seed: int) -> tuple[list[Arm], list[float]]:
    """Return the arms of a study, and the best score of each."""
    chance = np.random.default_rng((seed, number))
    arms, tops = [], []
    for at in range(number):
        landscape = found[(int(chance.integers(len(found))) + at) % len(found)]
        default = float(chance.uniform(-1, 1) * np.log10(FACTOR))
        height = float(chance.normal(0, HEIGHT))
        arms.append(Arm(landscape, default, height - landscape.top(default)))
        tops.append(height)
    return arms, tops


def measured(
    way: Way, found: Sequence[Landscape], setup: tuple[int, int], studies: int, *, noisy: bool
) -> tuple[float, float]:
    """Return the share of studies that found the best arm, and the mean points lost."""
    number, num_trials = setup
    hits, lost = [], []
    for seed in range(studies):
        arms, tops = drawn(found, number, seed)
        chosen: Chosen = run_study(way, arms, num_trials, seed, noisy=noisy)
        hits.append(tops[chosen.arm] >= max(tops) - TIE)
        lost.append(max(tops) - chosen.score)
    return statistics.mean(hits), statistics.mean(lost)


def rows(
    found: Sequence[Landscape], setups: Sequence[tuple[int, int]], studies: int
) -> Iterator[str]:
    """Yield the lines of both tables."""
    missed = []
    for noisy in (False, True):
        yield f"\n{'with' if noisy else 'without'} noise: best arm found, points lost"
        names = (f"{arms} arms, {trials}" for arms, trials in setups)
        yield " | ".join([f"{'trials':28s}", *(f"{name:>14s}" for name in names)])
        for way in WAYS:
            cells = []
            for setup in setups:
                share, lost = measured(way, found, setup, studies, noisy=noisy)
                cells.append(f"{100 * share:5.1f} %  {lost:6.3f}")
                if way == WAYS[0] and noisy and share < TARGETS[setup[0]]:
                    missed.append(f"{setup[0]} arms, {setup[1]} trials: {100 * share:.1f} %")
            yield " | ".join([f"{way.name:28s}", *cells])
    wanted = ", ".join(f"{100 * share:.0f} % of {arms} arms" for arms, share in TARGETS.items())
    yield f"\nwanted in turn, with noise: {wanted}; missed: {'; '.join(missed) or 'none'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few studies")
    parser.add_argument("--formulas", action="store_true", help="use no recorded runs")
    parser.add_argument("--studies", type=int, help="studies of each cell")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    found = formulas() if asked.formulas else landscapes()
    for each in found:
        print(f"{each.name:32s} error {each.error:.2f} points, noise {each.noise:.2f}")
    studies = asked.studies or (10 if asked.quick else 100)
    print(f"{studies} studies of each kind")
    line = ""
    for line in rows(found, QUICK if asked.quick else SETUPS, studies):
        print(line, flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return int(not line.endswith("missed: none"))


if __name__ == "__main__":
    sys.exit(main())
