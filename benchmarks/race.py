"""Who predicts other rows best, after the same four minutes of two cores.

    python benchmarks/race.py               # some two hours: four texts, 2 seeds
    python benchmarks/race.py --quick       # one text, 1 seed, a minute; keeps nothing
    python benchmarks/race.py --text sst2 --minutes 1 --by cores --kept none

Each side gets the same 400 to 2,000 labelled rows, and is interrupted when its time is used up,
imports included. What it has by then labels rows that nobody trained on, 600 to 2,000:

- finesweep: `finesweep sweep` with all defaults but the certificate, which no other side has and
  which would train winner and default six times more; its winner by `finesweep predict`. It keeps
  15 % of the rows for a test, as it does by default, so it trains on fewer than the others;
- as documented: Optuna and HF's Trainer by its guide to hyperparameter search;
- clever: a user who knows good ranges, successive halving, bf16 and batches by length;
- frozen, linear: a logistic regression on MiniLM's mean outputs, cross-validated;
- TF-IDF, linear: the same on words and pairs of words.

The last two end long before their time. A search that has nothing yet says the most frequent label;
finesweep has its finished trials, a peer the best weights of every validation. `--by cores` counts
seconds of a core of all processes of a side, for a machine that does other work.

Prints accuracies in points over all seeds, and how far finesweep is ahead of each, with 95 %
intervals over rows: the answers of all seeds to a row are one observation. finesweep must be first,
or level with the first within its interval. What was run is in `benchmarks/records/race.jsonl` (or
`--kept FILE`) with the commit, and is not run again.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from race_parts.budget import Budget
from race_parts.side import OURS, SIDES, raced
from race_parts.text import TEXTS, held_out, write_files
from shared_parts.argument import add_data, add_kept, parser_of
from shared_parts.data import is_there
from shared_parts.kept import Results

HERE = Path(__file__).resolve().parent
KEPT = HERE / "records" / "race.jsonl"
MINUTES, NUM_SEEDS = 4.0, 2
QUICK_MINUTES, QUICK_TEXT = 1.0, "reviews"
SIGMAS = 1.96
SECONDS = ("clock", "cores")


@dataclass(frozen=True)
class Result:
    """What a side got right.

    Attributes:
        right: A bit for each held-out row, as hexadecimal digits; the first row is the highest bit.
        clock: Seconds until it ended or was interrupted.
        cores: The same in seconds of a core.
        commit: The version that ran it.

    """

    right: str
    clock: float
    cores: float
    commit: str

    def rows(self, num_rows: int) -> np.ndarray:
        """Return 1.0 for each row that is right, [N]."""
        return np.array([float(bit) for bit in f"{int(self.right, 16):0{num_rows}b}"])


@dataclass(frozen=True)
class Kept:
    """The results so far, in a file of JSON lines; None keeps nothing."""

    path: Path | None
    data: Path
    budget: Budget

    def result(self, text: str, side: str, seed: int) -> Result:
        """Return a result of the file, or run the side and write it there."""
        cell = {"text": text, "side": side, "seed": seed, **asdict(self.budget)}
        results = Results(self.path, "result")
        return Result(**results.get_or_run(cell, lambda: asdict(self._run(text, side, seed))))

    def _run(self, text: str, side: str, seed: int) -> Result:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            write_files(text, self.data, seed, folder)
            found = raced(side, folder, seed, self.budget)
        assert found.labels is not None
        pairs = zip(found.labels, held_out(text, self.data), strict=True)
        bits = "".join(str(int(label == row.label)) for label, row in pairs)
        spent = found.spent
        return Result(f"{int(bits, 2):x}", round(spent.clock, 1), round(spent.cores, 1), _commit())


@cache
def _commit() -> str:
    words = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


@dataclass(frozen=True)
class Interval:
    """A mean over rows in points, and half of its 95 % interval."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: np.ndarray) -> Interval:
        """Return that of values by row, [N]."""
        error = values.std(ddof=1) / math.sqrt(len(values))
        return cls(100 * float(values.mean()), 100 * SIGMAS * float(error))


def table(text: str, results: Mapping[str, Sequence[Result]], num_rows: int) -> tuple[str, bool]:
    """Return the lines of a text, and whether finesweep is first or level with the first."""
    right = {
        side: np.mean([each.rows(num_rows) for each in of_side], axis=0)
        for side, of_side in results.items()
    }
    lines, is_level = [], True
    for side, values in right.items():
        score, ahead = Interval.of(values), Interval.of(right[OURS] - values)
        lead = "" if side == OURS else f"{ahead.mean:+5.1f} +- {ahead.half:3.1f}"
        is_level = is_level and ahead.mean >= -ahead.half
        seconds = [np.mean([getattr(each, kind) for each in results[side]]) for kind in SECONDS]
        cells = [f"{text:11s}", f"{side:14s}", f"{score.mean:5.1f} +- {score.half:3.1f}"]
        cells += [f"{lead:12s}", *(f"{each:6.0f}" for each in seconds)]
        lines.append(" | ".join(cells))
    return "\n".join(lines), is_level


def main() -> int:
    parser = parser_of(__doc__, "one text, 1 seed, a minute; keeps nothing")
    parser.add_argument("--text", choices=TEXTS, help="only this one")
    parser.add_argument("--minutes", type=float, help="minutes of two cores for each side")
    parser.add_argument("--by", choices=SECONDS, default="clock", help="how time is counted")
    parser.add_argument("--seeds", type=int, help=f"seeds of each text (default {NUM_SEEDS})")
    add_data(parser)
    add_kept(parser, KEPT)
    asked = parser.parse_args()
    if not is_there(asked.data):
        return 0
    texts = [asked.text or QUICK_TEXT] if asked.quick or asked.text else list(TEXTS)
    num_seeds = asked.seeds or (1 if asked.quick else NUM_SEEDS)
    minutes = asked.minutes or (QUICK_MINUTES if asked.quick else MINUTES)
    path = None if asked.quick else asked.kept
    kept = Kept(path, asked.data.resolve(), Budget(minutes, asked.by))
    print(f"{minutes:g} minutes by the {asked.by}, {num_seeds} seeds; accuracy, finesweep's lead")
    behind = []
    for text in texts:
        # Seed by seed, so that a change of the machine's load meets all sides.
        results: dict[str, list[Result]] = {side: [] for side in SIDES}
        for seed in range(num_seeds):
            for side in SIDES:
                results[side].append(kept.result(text, side, seed))
        lines, is_level = table(text, results, len(held_out(text, asked.data)))
        print(lines, flush=True)
        if not is_level:
            behind.append(text)
    print(f"wanted: first, or level within the interval; behind on: {', '.join(behind) or 'none'}")
    return int(bool(behind) and not asked.quick)


if __name__ == "__main__":
    sys.exit(main())
