"""What `finesweep check` finds of faults that were planted in SST-2, and what a million rows cost.

    python benchmarks/check.py [--quick]

In SST-2's training rows, 40 near duplicates of other rows are planted (a character or a word
changed, Jaccard similarity of 0.8 or more on character 5-grams), 40 labels are flipped, and 10
texts are repeated with the other label. It prints how many of these the report names, over several
draws of what is planted. The second table reads a million rows: the first words of a sentence and
the last ones of another, so that nearly all differ. `--quick` plants once, and reads 20,000 rows.

Without the files of SST-2 in ../shared/data/sst2 it uses the embedded reviews.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared_parts.argument import parser_of
from shared_parts.data import DATA

from lightning_modules.quality.check import check_data
from lightning_modules.quality.finding import Say, quiet
from lightning_modules.quality.report import Report
from lightning_modules.rows.corpus import normalized
from lightning_modules.rows.embedded import REVIEWS
from lightning_modules.rows.near import LEAST, jaccard
from search.config import build_run, compose
from search.machine.quiet import quiet_process, quiet_training

ROOT = Path(__file__).parents[1]
SST2 = DATA / "sst2"
SPLITS = ("train", "validation", "test")
NUM_NEAR, NUM_FLIPPED, NUM_CONFLICTS = 40, 40, 10
NUM_SUSPECTS = 200
OTHER = {"positive": "negative", "negative": "positive"}

Rows = list[dict[str, Any]]


def rows_of(split: str) -> Rows:
    """Return the rows of a split, of SST-2 if its files are there."""
    if SST2.is_dir():
        return [json.loads(line) for line in (SST2 / f"{split}.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in REVIEWS.read_text(encoding="utf-8").splitlines()]
    return [{"text": row["text"], "label": row["label"]} for row in rows if row["split"] == split]


def near(text: str, draw: random.Random) -> str | None:
    """Return a text with one character or one word changed; None if it is not near any more."""
    if draw.random() < 0.5:
        at = draw.randrange(len(text))
        changed = f"{text[:at]}{draw.choice('abcdefghij')}{text[at + 1 :]}"
    else:
        words = text.split()
        words[draw.randrange(len(words))] = draw.choice(("quite", "so", "very"))
        changed = " ".join(words)
    one, other = normalized(text), normalized(changed)
    return changed if one != other and jaccard(one, other) >= LEAST else None


def plant(rows: Rows, draw: random.Random) -> tuple[Rows, dict[str, set[str]]]:
    """Return rows with faults, and the places of each kind as the report names them."""
    rows = [dict(row) for row in rows]
    chosen = draw.sample(range(len(rows)), len(rows))
    planted: dict[str, set[str]] = {"near": set(), "flipped": set(), "conflicts": set()}
    for number in [chosen.pop() for _ in range(NUM_FLIPPED)]:
        rows[number]["label"] = OTHER[rows[number]["label"]]
        planted["flipped"].add(f"train.jsonl row {number + 1}")
    while len(planted["near"]) < NUM_NEAR:
        row = rows[chosen.pop()]
        changed = near(row["text"], draw)
        if changed is not None:
            rows.append({**row, "text": changed})
            planted["near"].add(f"train.jsonl row {len(rows)}")
    for number in [chosen.pop() for _ in range(NUM_CONFLICTS)]:
        rows.append({**rows[number], "label": OTHER[rows[number]["label"]]})
        planted["conflicts"].add(f"train.jsonl row {len(rows)}")
    return rows, planted


def report_of(folder: Path, say: Say = quiet) -> Report:
    """Return the report on the files of a folder."""
    words = [f"data.{split}={folder / split}.jsonl" for split in SPLITS]
    composition = compose("train", ["data=files", *words, "strategy=feature_extraction"])
    return check_data(build_run(composition.tree), say)


def write(folder: Path, split: str, rows: Rows) -> None:
    """Write the rows of a split."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def found_of(report: Report, folder: Path, planted: dict[str, set[str]]) -> list[int]:
    """Return how many of each kind the report names."""
    findings = json.loads(json.dumps(report.as_dict()).replace(f"{folder}/", ""))["findings"]
    near_places = {
        pair[side]["where"] for pair in findings["near"]["pairs"] for side in ("first", "second")
    }
    suspects = findings["labels"]["rows"][:NUM_SUSPECTS]
    conflicts = {each["where"] for group in findings["conflicts"]["groups"] for each in group}
    return [
        len(planted["near"] & near_places),
        len(planted["flipped"] & {each["row"]["where"] for each in suspects}),
        len(planted["conflicts"] & conflicts),
    ]


def planted_table(num_draws: int) -> None:
    """Print what is found of the planted faults."""
    print(f"planted in {len(rows_of('train')):,} training rows, and named by the report")
    print(
        f"draw  near of {NUM_NEAR}  flipped of {NUM_FLIPPED} in the first {NUM_SUSPECTS} suspects  "
        f"conflicts of {NUM_CONFLICTS}  seconds  of the processor"
    )
    for seed in range(num_draws):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows, planted = plant(rows_of("train"), random.Random(seed))
            for split in SPLITS:
                write(folder, split, rows if split == "train" else rows_of(split))
            began, began_cpu = time.monotonic(), time.process_time()
            report = report_of(folder)
            seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
            near_found, flipped, conflicts = found_of(report, folder, planted)
        print(
            f"{seed:4}  {near_found:10}  {flipped:43}  {conflicts:15}  {seconds:7.0f}  {cpu:16.0f}",
            flush=True,
        )


def many_rows(number: int, folder: Path) -> None:
    """Write `number` different rows: two sentences of SST-2 each."""
    draw, rows = random.Random(0), rows_of("train")
    sizes = {"train": number - number // 10, "validation": number // 20, "test": number // 20}
    for split, size in sizes.items():
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(size):
                one, other = draw.choice(rows), draw.choice(rows)
                first, last = one["text"].split(), other["text"].split()
                words = first[: -(-len(first) // 2)] + last[len(last) // 2 :]
                row = {"text": " ".join(words), "label": one["label"]}
                file.write(json.dumps(row) + "\n")


def size_table(number: int) -> None:
    """Print time and memory of a large file, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        many_rows(number, Path(name))
        command = [sys.executable, __file__, "--folder", name]
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        printed = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        )
        seconds = time.monotonic() - began
    measured = json.loads(printed.stdout.splitlines()[-1])
    print(
        f"\n{number:,} rows: {seconds:.0f} s, {measured['cpu']:.0f} s of the processor, "
        f"{measured['bytes'] / 2**30:.2f} GiB at most"
    )
    print("\n".join(measured["lines"]))


def measure(folder: Path) -> None:
    """Check a folder's files; print time and memory as JSON."""
    began: dict[str, float] = {}

    def say(doing: str, done: int, total: int) -> None:
        if doing not in began:
            print(f"{time.process_time():6.0f} s {doing}", file=sys.stderr, flush=True)
            began[doing] = time.process_time()

    report = report_of(folder, say)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    ends = [*list(began.values())[1:], time.process_time()]
    lines = [
        f"  {end - start:6.0f} s of the processor {doing}"
        for (doing, start), end in zip(began.items(), ends, strict=True)
    ]
    lines += [f"  {each.name}: {each.line()}" for each in report.findings]
    lines += [f"  left out: {name}: {why}" for name, why in report.left_out.items()]
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"cpu": cpu, "bytes": usage.ru_maxrss * 1024, "lines": lines}))


def main(words: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = parser_of(__doc__, "plant once, and read 20,000 rows")
    parser.add_argument("--rows", type=int, help="rows of the second table, alone")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    quiet_process()
    quiet_training()
    if given.folder is not None:
        measure(given.folder)
        return
    if given.rows is None:
        planted_table(1 if given.quick else 5)
    size_table(given.rows or (20_000 if given.quick else 1_000_000))


if __name__ == "__main__":
    main()
