"""A study of trials above a frozen part: with its outputs computed once, and run again each time.

    python benchmarks/features.py            # 8 trials of each strategy
    python benchmarks/features.py --quick    # 3 trials of each, on a fifth of the rows

Both sides train the same configurations (learning rate, batch size, epochs) of MiniLM on the 1,000
rows of `data=reviews`, like a worker: in one process, in turns, trial by trial, so that other load
affects both equally. The first trial of the side that computes once also computes. Prints the
seconds of both sides, the ratio of their sums, the least and the most of the trials' ratios, and
how far their validation losses are apart.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_parts.argument import parser_of

import lightning_modules
from lightning_modules.cache import Cache
from lightning_modules.check import load_rows
from lightning_modules.fit import fit
from lightning_modules.logger.base import Identity
from search.config import build_run, compose
from search.machine.quiet import quiet_process, quiet_training

NUM_TRIALS, NUM_QUICK = 8, 3
NUM_QUICK_ROWS = 200
STRATEGIES: Mapping[str, Sequence[str]] = {
    "feature_extraction": ("strategy=feature_extraction",),
    "freeze, one layer of six": ("strategy=freeze", "strategy.num_layers=1"),
}
REVIEWS = Path(lightning_modules.__file__).parent / "rows" / "reviews.jsonl"
LEAST_RATIO = 1.0
"""Computing once must not take longer."""


@dataclass(frozen=True)
class Trial:
    """One configuration as one side trained it.

    Attributes:
        seconds: From its rows to its outcome.
        loss: Its last validation loss.

    """

    seconds: float
    loss: float


Side = Callable[[str, Sequence[str]], Trial]
"""Trains one configuration, given its name and its words."""


def finesweep(folder: Path, *fixed: str) -> Side:
    """Return a side that trains in this process, with a memory and a disk cache of its own."""
    cache = Cache()

    def train(name: str, words: Sequence[str]) -> Trial:
        os.environ["FINESWEEP_CACHE"] = str(folder / "cache")
        began = time.perf_counter()
        run = build_run(compose("train", [*words, *fixed]).tree)
        place = folder / name
        place.mkdir(parents=True)
        identity = Identity("benchmark", None, place)
        outcome = fit(run, place, identity, cache=cache, checked=load_rows(run, cache))
        return Trial(time.perf_counter() - began, outcome.points[-1].validation_loss)

    return train


def configurations(strategy: Sequence[str], num_trials: int, rows: Path) -> list[list[str]]:
    """Return the words of the trials, which every side trains."""
    chance = random.Random(0)
    data = ("data=files", f"data.train={rows}", "data.max_length=128")
    fixed = (*strategy, *data, "model=minilm", "logger=none", "trainer.precision=fp32")
    return [
        [
            *fixed,
            f"optimizer.lr={10 ** chance.uniform(-4, -2):.2e}",
            f"data.batch_size={chance.choice((8, 16, 32))}",
            f"trainer.epochs={chance.choice((2, 4, 8))}",
        ]
        for _ in range(num_trials)
    ]


def measure(words: Sequence[Sequence[str]], folder: Path) -> float:
    """Train all sides in turns; print and return how many times less computing once takes."""
    sides: dict[str, Side] = {
        "again": finesweep(folder / "again", "trainer.cache_features=false"),
        "once": finesweep(folder / "once", "trainer.cache_features=true"),
    }
    trials: dict[str, list[Trial]] = {side: [] for side in sides}
    for number, each in enumerate(words):
        for side in sorted(sides, reverse=bool(number % 2)):
            trials[side].append(sides[side](f"{number}", each))
    pairs = list(zip(trials["again"], trials["once"], strict=True))
    sums = {side: sum(trial.seconds for trial in found) for side, found in trials.items()}
    ratios = [again.seconds / once.seconds for again, once in pairs]
    apart = max(abs(again.loss - once.loss) for again, once in pairs)
    ratio = sums["again"] / sums["once"]
    print(
        f"again {sums['again']:.1f} s, once {sums['once']:.1f} s: {ratio:.1f} times less "
        f"({min(ratios):.1f} to {max(ratios):.1f} a trial); losses at most {apart:.1e} apart"
    )
    return ratio


def main() -> int:
    parser = parser_of(__doc__, "three trials of each, on few rows")
    is_quick = parser.parse_args().quick
    num_trials = NUM_QUICK if is_quick else NUM_TRIALS
    quiet_process()
    quiet_training()
    ratios = []
    for name, strategy in STRATEGIES.items():
        print(f"{name}, {num_trials} trials", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder, "rows.jsonl")
            lines = REVIEWS.read_text(encoding="utf-8").splitlines(keepends=True)
            rows.write_text("".join(lines[:NUM_QUICK_ROWS] if is_quick else lines), "utf-8")
            words = configurations(strategy, num_trials, rows)
            # Imports and the first use of libraries are nobody's.
            finesweep(Path(folder, "warm"), "trainer.max_steps=2")("0", words[0])
            ratios.append(measure(words, Path(folder)))
    return int(min(ratios) < LEAST_RATIO)


if __name__ == "__main__":
    sys.exit(main())
