"""How often a study of three or six arms finds the best one: jointly, apart, or in turn.

An arm scores what recorded runs of a strategy on a text scored, interpolated, or a formula where
too few are recorded (`arms_parts/landscape.py`). Its default learning rate is off its best one by a
factor drawn from 1/3 to 3. Its height is drawn from a normal distribution with a standard deviation
of 1.5 points. A study found the best arm if the arm of its best trial is at most 0.2 points behind,
at its best setting. It is near if that arm is at most 1 point behind: an accuracy of 75 % on the
2,000 rows that are the truth of recorded runs has a standard error of 0.97 points. What a study
loses is the score of the best setting of all arms, minus that of the trial that it chooses, both
without noise. "Every setting" is the ceiling: each one of each arm tried once, so only the noise
of the scores can mislead. Where studies in turn lose the best arm is counted as well.

The scores of the first table are exact; those of the second have the noise from run to run. That of
few validation rows, which is larger, is the matter of `selection.py`.

    python benchmarks/arms.py [--quick] [--formulas] [--studies N]
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from arms_parts.landscape import Landscape, formulas, landscapes
from arms_parts.named import named
from arms_parts.study import Arm, Chosen, Way, run_study
from record import load_records
from recorded.replay import candidates, cells
from selection import RANGES
from shared_parts.argument import parser_of

from search.config.settings import Arms
from search.study.turn import NUM_OPENING

WAYS = (
    Way("in turn"),
    Way("in turn, TPE inside", "tpe"),
    Way("in turn, random inside", "random"),
    Way("in turn, without x3 and /3", opens=False),
    Way("in turn, no arm drops out", halves=False),
    Way("separate studies", arms=None),
    Way("joint study", arms=Arms.joint),
    Way("joint study, TPE", "tpe", Arms.joint),
    Way("every setting", knows=True),
)
SETUPS = ((3, 12), (3, 24), (6, 12), (6, 24), (6, 36))
QUICK = ((3, 12), (6, 24))
TARGETS = {3: 0.95, 6: 0.85}
HEIGHT = 1.5
TIE = 0.2
NEAR = 1.0
NUM_ROWS = (60, 100, 500)
FACTOR = 3.0


@dataclass(frozen=True)
class Score:
    """What studies came to.

    Attributes:
        found: Share of them whose arm is at most `TIE` points behind the best one.
        near: The same for `NEAR` points.
        lost: Mean points lost.
        misses: How many studies of the others are lost where, see `place_of_miss`.

    """

    found: float
    near: float
    lost: float
    misses: Mapping[str, int]

    def __str__(self) -> str:
        return f"{100 * self.found:5.1f} % {100 * self.near:5.1f} % {self.lost:6.3f}"


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
) -> Score:
    """Return what `studies` studies of this kind come to."""
    number, num_trials = setup
    behind, lost, misses = [], [], Counter[str]()
    for seed in range(studies):
        arms, tops = drawn(found, number, seed)
        chosen: Chosen = run_study(way, arms, num_trials, seed, noisy=noisy)
        behind.append(max(tops) - tops[chosen.arm])
        lost.append(max(tops) - chosen.score)
        if behind[-1] > TIE:
            misses[place_of_miss(chosen, tops)] += 1
    shares = (statistics.mean(each <= most for each in behind) for most in (TIE, NEAR))
    return Score(*shares, statistics.mean(lost), misses)


def place_of_miss(chosen: Chosen, tops: Sequence[float]) -> str:
    """Return where a study lost the best arm, with the arms that tie with it.

    At the last choice, if a trial of it was better without noise than the chosen one; at the cut,
    if it was not continued after its opening; otherwise inside the arm, whose trials were too few.
    """
    best = {arm for arm, top in enumerate(tops) if max(tops) - top <= TIE}
    if any(arm in best and score > chosen.score for arm, score in chosen.trials):
        return "at the last choice"
    num_trials = Counter(arm for arm, _ in chosen.trials)
    if all(num_trials[arm] <= NUM_OPENING for arm in best):
        return "at the cut"
    return "inside the arm"


def share_of_close_arms(found: Sequence[Landscape], number: int, studies: int) -> float:
    """Return the share of studies whose second-best arm is near the best one."""
    tops = (sorted(drawn(found, number, seed)[1]) for seed in range(studies))
    return statistics.mean(each[-1] - each[-2] <= NEAR for each in tops)


def rows(
    found: Sequence[Landscape], setups: Sequence[tuple[int, int]], studies: int
) -> Iterator[str]:
    """Yield the lines of both tables."""
    missed, places = [], list[str]()
    for noisy in (False, True):
        yield f"\n{'with' if noisy else 'without'} noise: best arm found, near, points lost"
        names = (f"{arms} arms, {trials}" for arms, trials in setups)
        yield " | ".join([f"{'trials':28s}", *(f"{name:>22s}" for name in names)])
        for way in WAYS:
            cells = []
            for setup in setups:
                score = measured(way, found, setup, studies, noisy=noisy)
                cells.append(str(score))
                if way != WAYS[0] or not noisy:
                    continue
                lost = ", ".join(f"{num} {place}" for place, num in sorted(score.misses.items()))
                places.append(f"in turn, {setup[0]} arms, {setup[1]} trials: lost {lost or 'none'}")
                if score.found < TARGETS[setup[0]]:
                    missed.append(f"{setup[0]} arms, {setup[1]} trials: {100 * score.found:.1f} %")
            yield " | ".join([f"{way.name:28s}", *cells])
    yield "\n" + "\n".join(places)
    wanted = ", ".join(f"{100 * share:.0f} % of {arms} arms" for arms, share in TARGETS.items())
    yield f"wanted in turn, with noise: {wanted}; missed: {'; '.join(missed) or 'none'}"


def rows_of_named() -> Iterator[str]:
    """Yield how often validation rows name the best strategy of a text, from its recorded runs."""
    records = load_records()
    found = {
        strategy: {t: candidates(records, strategy, t, lr) for t in cells(records, strategy, 6)}
        for strategy, lr in RANGES.items()
    }
    yield "\nbest strategy named by every recorded run: best, within its error, > 1 point behind,"
    yield "second within the error, points behind"
    for text in sorted(set.intersection(*map(set, found.values()))):
        arms = [texts[text] for texts in found.values()]
        for num_rows in NUM_ROWS:
            yield f"{text}, {num_rows} validation rows".ljust(36) + str(named(arms, num_rows))


def main() -> int:
    parser = parser_of(__doc__, "few studies")
    parser.add_argument("--formulas", action="store_true", help="use no recorded runs")
    parser.add_argument("--studies", type=int, help="studies of each cell")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    found = formulas() if asked.formulas else landscapes()
    for each in found:
        print(
            f"{each.name:32s} error {each.error:.2f} points, noise {each.noise:.2f}, "
            f"best {each.beyond:+.2f} from the best recorded"
        )
    if not asked.formulas:
        print("\n".join(rows_of_named()))
    studies = asked.studies or (10 if asked.quick else 100)
    print(f"{studies} studies of each kind")
    for number in TARGETS:
        share = share_of_close_arms(found, number, studies)
        print(f"second of {number} arms at most {NEAR:g} point behind: {100 * share:.0f} %")
    line = ""
    for line in rows(found, QUICK if asked.quick else SETUPS, studies):
        print(line, flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return int(not line.endswith("missed: none"))


if __name__ == "__main__":
    sys.exit(main())
