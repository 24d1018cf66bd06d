"""A study on real texts, its certificate, and the truth: many seeds, and rows that it never had."""

from __future__ import annotations

import csv
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.certificate.certificate import Certified
    from search.certificate.difference import Scores
    from search.study.study import Study

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
HERE = Path(__file__).resolve().parents[1]
TEXTS = ("sst2", "headlines", "cola", "pairs")
FIRST_SEED = 9000
"""Of the truth: neither the search nor its certificate has one of these."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        num_trials: Trials of a study.
        num_rows: Rows that a study gets for training and validation.
        num_test_rows: Rows on which it is certified.
        num_true_rows: Other rows, at most, which stand for all there are.
        num_true_seeds: Seeds of each side of the truth; 0 leaves the truth out.
        words: Overrides of the study.

    """

    num_trials: int
    num_rows: int
    num_test_rows: int
    num_true_rows: int
    num_true_seeds: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a study said, and what is true, in points.

    Attributes:
        gain: The certified difference.
        low: The lower end of its 95 % interval.
        high: The upper end.
        verdict: `better`, `worse` or `not distinguishable`.
        is_default: Whether the default is what was certified, because it won.
        sentence: What the study said.
        searched_gain: How far the first one led on the validation rows of the search.
        truth: The true difference; None if it was not measured.
        truth_error: Its standard error.
        cpu_seconds: Time of the processor that study and truth took.
        commit: The version that trained them.

    """

    gain: float
    low: float
    high: float
    verdict: str
    is_default: bool
    sentence: str
    searched_gain: float
    truth: float | None
    truth_error: float | None
    cpu_seconds: float
    commit: str

    @property
    def holds(self) -> bool:
        """Whether the true difference lies in the interval, its own error counted."""
        assert self.truth is not None and self.truth_error is not None
        half = (self.high - self.low) / 2
        return abs(self.gain - self.truth) <= math.hypot(half, 1.96 * self.truth_error)


def found(text: str, strategy: str, seed: int, size: Size, data: Path, leak: bool = False) -> Found:
    """Run a study and measure the truth.

    Args:
        text: One of TEXTS.
        strategy: The strategy.
        seed: Draws the rows, and seeds the study.
        size: How much is run.
        data: The folder of the texts.
        leak: Whether the validation rows are some of the training rows.

    """
    began = _cpu_seconds()
    rows = list(pool(text, data))
    random.Random(seed).shuffle(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given, rest = rows[: size.num_rows], rows[size.num_rows :]
        words = [f"data.train={_write(folder / 'rows.jsonl', given)}"]
        words += [f"data.test={_write(folder / 'test.jsonl', rest[: size.num_test_rows])}"]
        if leak:
            leaked = given[: size.num_rows // 4]
            words += [f"data.validation={_write(folder / 'leaked.jsonl', leaked)}"]
            words += ["data.on_leak=keep"]
        words += [f"strategy={strategy}", f"seed={seed}", f"search.num_trials={size.num_trials}"]
        words += ["data.text_pair=text_pair"] if "text_pair" in rows[0] else []
        # One precision on all machines. The truth has it too.
        words += ["data=files", "logger=none", "trainer.precision=fp32", *size.words]
        _sweep(folder, "study=s", *words)
        (certificate,) = _certificates(folder / "studies" / "s")
        truth = error = None
        if size.num_true_seeds:
            others = rest[size.num_test_rows :][: size.num_true_rows]
            truth, error = _truth(folder, others, size.num_true_seeds)
    value, low, high = (100 * certificate[key] for key in ("gain", "low", "high"))
    return Found(
        gain=value,
        low=low,
        high=high,
        verdict=certificate["verdict"],
        is_default=certificate["first"]["is_default"],
        sentence=certificate["sentence"],
        searched_gain=100 * certificate["searched_gain"],
        truth=truth,
        truth_error=error,
        cpu_seconds=_cpu_seconds() - began,
        commit=_commit(),
    )


@cache
def pool(text: str, data: Path) -> Sequence[Row]:
    """Return the text's different rows, in the order of their file."""
    read = {"headlines": _headlines, "pairs": _pairs}.get(text)
    rows = read(data) if read else _rows(data / text / "train.jsonl")
    return list(
        {row["text"].casefold().strip() + row.get("text_pair", ""): row for row in rows}.values()
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _headlines(data: Path) -> Iterator[Row]:
    folder = data / "ag_news_raw"
    classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for number, title, _ in csv.reader(file):
                yield {"text": title, "label": classes[int(number) - 1].strip()}


def _pairs(data: Path) -> Iterator[Row]:
    """Yield pairs of sentences that mean much the same, or do not."""
    for row in _rows(data / "stsb" / "train.jsonl"):
        label = "same" if float(row["score"]) >= 3 else "other"
        yield {"text": row["sentence1"], "text_pair": row["sentence2"], "label": label}


def _write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _sweep(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [FINESWEEP, "sweep", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"finesweep sweep {' '.join(words)}\n{done.stdout}\n{done.stderr}")


def _certificates(folder: Path) -> list[dict[str, Any]]:
    values = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = values["certificates"]
    return found


def _truth(folder: Path, rows: Sequence[Row], num_seeds: int) -> tuple[float, float]:
    """Return the true difference of the certified two in points, and its standard error."""
    from search.certificate.difference import difference
    from search.study.open import load_study

    study = load_study(folder / "studies" / "s")
    certificate = study.certificate
    assert certificate is not None
    sides = [
        _scores(study, one, rows, num_seeds, folder)
        for one in (certificate.first, certificate.second)
    ]
    apart = difference(*sides)
    return 100 * apart.value, 100 * apart.error


def _scores(
    study: Study, one: Certified, rows: Sequence[Row], num_seeds: int, folder: Path
) -> Scores:
    from recorded.frozen import quick

    from lightning_modules.cache import Cache
    from lightning_modules.export.predictor import load_trained
    from lightning_modules.fit import fit
    from lightning_modules.folder import LABELS_FILE
    from lightning_modules.logger.base import Identity
    from search.certificate.difference import Scores
    from search.machine.quiet import quiet_training

    quiet_training()
    run, kept, parts = quick(study.plan.run(dict(one.params))), Cache(), []
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        own, seeded = folder / "truth" / f"{one.trial}-{seed}", replace(run, seed=seed)
        own.mkdir(parents=True)
        fit(seeded, own, Identity(own.name, None, own), cache=kept)
        labels = json.loads((own / LABELS_FILE).read_text(encoding="utf-8"))
        of_rows = load_trained(seeded, own, labels).evaluate(rows).row_scores()
        assert of_rows is not None
        parts.append(of_rows.values)
    return Scores.of(parts)


def _cpu_seconds() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(each.ru_utime + each.ru_stime for each in used)


@cache
def _commit() -> str:
    words = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
