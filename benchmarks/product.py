"""The whole product from the command line, against random search with twice the trials.

    finesweep sweep study=... data=files data.train=400-rows.jsonl strategy=...

as users run it, with all defaults, against the same command with `search/sampler=random`,
`search/pruner=none`, a choice by the metric alone and twice as many trials. Both winners are scored
with `finesweep evaluate split=test` on up to 2,000 other rows. Each seed draws other rows.

The texts are SST-2, and headlines of AG News by topic, which stand for TREC: short texts of more
than two classes. Frozen heads have 10 seeds, LoRA has 3. The difference is good if it is not below
zero by more than its standard error.

    python benchmarks/product.py [--quick] [--strategy lora] [--text sst2] [--seeds 3] [--kept FILE]

It takes hours. Each pair of studies is written to `benchmarks/records/product.jsonl` (or `--kept
FILE`) with the commit that trained it; a pair that is there is not trained again. `--kept none`
reads and writes nothing.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared_parts.argument import add_data, add_kept, parser_of
from shared_parts.data import is_there
from shared_parts.kept import Results

from search.config import compose

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
HERE = Path(__file__).resolve().parent
KEPT = HERE / "records" / "product.jsonl"
TEXTS = ("sst2", "ag_news_headlines")
NUM_SEEDS = {"feature_extraction": 10, "lora": 3}
NUM_ROWS, NUM_TRUE_ROWS = 400, 2000
QUICK_TRIALS, QUICK_SEEDS, QUICK_TRUE_ROWS = 3, 2, 500
QUICK_WORDS = ("trainer.epochs=2",)
BASELINE = {
    "search/sampler": "random",
    "search/pruner": "none",
    "search.select": "metric",
    "search.portfolio": "false",
    "search.confirm": "0",
}
"""Words of the random search; those of settings that do not exist are left out."""


@dataclass(frozen=True)
class Pair:
    """What both sides scored on the held-out rows, and how long they took.

    Attributes:
        product: Accuracy in points.
        random: The same of random search.
        seconds: Of both studies together.
        commit: The version that trained them.

    """

    product: float
    random: float
    seconds: float
    commit: str


@cache
def pool(text: str, data: Path) -> Sequence[Mapping[str, str]]:
    """Return the text's different rows, in the order of its file."""
    if text == "sst2":
        lines = (data / "sst2" / "train.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    else:
        rows = list(_headlines(data / "ag_news_raw"))
    return list({row["text"].strip().lower(): row for row in rows}.values())


def _headlines(folder: Path) -> Iterator[dict[str, str]]:
    classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for number, title, _ in csv.reader(file):
                yield {"text": title, "label": classes[int(number) - 1].strip()}


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        num_trials: Trials of the product; random search has twice as many.
        num_true_rows: Held-out rows.
        words: Overrides of both studies.

    """

    num_trials: int
    num_true_rows: int = NUM_TRUE_ROWS
    words: tuple[str, ...] = ()


def write_rows(text: str, data: Path, seed: int, folder: Path, num_true_rows: int) -> None:
    """Write the files `rows.jsonl` and `heldout.jsonl`."""
    rows = list(pool(text, data))
    random.Random(seed).shuffle(rows)
    parts = {"rows": rows[:NUM_ROWS], "heldout": rows[NUM_ROWS : NUM_ROWS + num_true_rows]}
    for name, part in parts.items():
        lines = [json.dumps(row) for row in part]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def compared(
    text: str, strategy: str, seed: int, size: Size, data: Path, studies: Path | None
) -> Pair:
    """Run both studies, in a folder of their own below `studies`, and score their winners."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if studies is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = studies / f"{text}-{strategy}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
        write_rows(text, data, seed, folder, size.num_true_rows)
        baseline = [f"{key}={value}" for key, value in BASELINE.items() if _exists(key)]
        words = [f"strategy={strategy}", f"seed={seed}", *size.words]
        few, many = (f"search.num_trials={n * size.num_trials}" for n in (1, 2))
        product = _scored(folder, f"product-{seed}", few, *words)
        other = _scored(folder, f"random-{seed}", many, *words, *baseline)
    return Pair(100 * product, 100 * other, time.monotonic() - began, _commit())


@cache
def _commit() -> str:
    words = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


@cache
def _exists(key: str) -> bool:
    if "/" in key:
        return True
    settings = compose("sweep", ["model=tiny"]).tree["search"]
    return key.removeprefix("search.") in settings


def _scored(folder: Path, study: str, *words: str) -> float:
    """Run a study; return the accuracy of its winner on the held-out rows."""
    common = [f"study={study}", "data=files", "data.train=rows.jsonl", "data.test=heldout.jsonl"]
    common += ["logger=none", "search.certify=false", *words]
    _finesweep(folder, "sweep", *common)
    scores = json.loads(_finesweep(folder, "evaluate", f"study={study}", "split=test", "--json"))
    return float(next(value for key, value in scores.items() if key.endswith("accuracy")))


def _finesweep(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [FINESWEEP, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"finesweep {' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Kept:
    """The pairs that have been trained, in a file of JSON lines.

    Attributes:
        path: The file; None keeps nothing.
        size: How much is run. Pairs of another size do not count.
        studies: Where the studies of a pair stay; None deletes them.

    """

    path: Path | None
    size: Size
    studies: Path | None = None

    def pair(self, text: str, strategy: str, seed: int, data: Path) -> Pair:
        """Return the pair of the file, or train it and write it there."""
        cell = {"text": text, "strategy": strategy, "seed": seed, **asdict(self.size)}
        cell["words"] = list(self.size.words)
        results = Results(self.path, "pair")

        def train() -> dict[str, Any]:
            return asdict(compared(text, strategy, seed, self.size, data, self.studies))

        return Pair(**results.get_or_run(cell, train))


def row(text: str, strategy: str, pairs: Sequence[Pair]) -> tuple[str, bool]:
    """Return a line of the table, and whether the difference is good."""
    differences = [pair.product - pair.random for pair in pairs]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    good = mean >= -error
    verdict = "" if good else "worse by more than a standard error"
    if len(pairs) == 1:
        good, verdict = False, "one seed has no error, and shows nothing"
    cells = [
        f"{text:18s}",
        f"{strategy:18s}",
        f"{len(pairs):5d}",
        f"{statistics.mean(pair.product for pair in pairs):8.2f}",
        f"{statistics.mean(pair.random for pair in pairs):8.2f}",
        f"{mean:+6.2f} +- {error:.2f}",
        verdict,
    ]
    return " | ".join(cells), good


def main() -> int:
    parser = parser_of(__doc__, "2 seeds of frozen heads, 3 trials")
    parser.add_argument("--strategy", choices=sorted(NUM_SEEDS), help="only this one")
    parser.add_argument("--text", choices=TEXTS, help="only this one")
    parser.add_argument("--seeds", type=int, help="seeds of each cell")
    add_data(parser)
    add_kept(parser, KEPT)
    parser.add_argument("--studies", type=Path, help="where the studies stay")
    asked = parser.parse_args()
    if not is_there(asked.data):
        return 0
    size = Size(int(compose("sweep", ["model=tiny"]).tree["search"]["num_trials"]))
    strategies = [asked.strategy] if asked.strategy else list(NUM_SEEDS)
    if asked.quick:
        strategies = ["feature_extraction"]
        size = Size(QUICK_TRIALS, QUICK_TRUE_ROWS, QUICK_WORDS)
    kept = Kept(asked.kept, size, asked.studies)
    head = [f"{'text':18s}", f"{'strategy':18s}", "seeds", " product", "  random", "difference"]
    few, many = size.num_trials, 2 * size.num_trials
    print(f"{few} trials against {many}; accuracy on held-out rows, in points")
    print(" | ".join(head), flush=True)
    all_good, seconds = True, 0.0
    for strategy in strategies:
        for text in [asked.text] if asked.text else TEXTS:
            num_seeds = asked.seeds or (QUICK_SEEDS if asked.quick else NUM_SEEDS[strategy])
            pairs = [kept.pair(text, strategy, seed, asked.data) for seed in range(num_seeds)]
            line, good = row(text, strategy, pairs)
            all_good, seconds = all_good and good, seconds + sum(pair.seconds for pair in pairs)
            print(line, flush=True)
    print(f"{seconds:.0f} s")
    return 0 if all_good or asked.quick else 1


if __name__ == "__main__":
    sys.exit(main())
