"""The rows: a user's files, and the truth, which no run sees."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from recorded.job import LARGER, LARGER_TEXT, SMALL

from lightning_modules.machine.file import write_text
from lightning_modules.rows.embedded import REVIEWS

NUM_TRUE_ROWS = 2000
"""Rows of the truth at most."""


@dataclass(frozen=True)
class Place:
    """Where things are: the work folder and the folder of the texts."""

    work: Path
    data: Path

    def run_file(self, name: str) -> Path:
        return self.work / "runs" / f"{name}.npz"

    def rows_file(self, text: str, num_rows: int) -> Path:
        """Return a user's file, written where it is not there yet."""
        path = self.work / "rows" / f"{text}-{num_rows}.jsonl"
        if not path.is_file():
            lines = pool(text, self.data)[:num_rows]  # the larger file holds the smaller one's
            rows = [json.dumps({"text": line.text, "label": line.label}) for line in lines]
            write_text(path, "\n".join(rows) + "\n")
        return path


@dataclass(frozen=True)
class Line:
    """A labelled text, and its place in the file it is of, counted from 0."""

    number: int
    text: str
    label: str


def true_lines(text: str, data: Path) -> Sequence[Line]:
    """Return rows that no user's file has, the same ones for every size of file."""
    start = LARGER if text == LARGER_TEXT else SMALL
    return pool(text, data)[start : start + NUM_TRUE_ROWS]


@cache
def pool(text: str, data: Path) -> tuple[Line, ...]:
    """Return the different texts, in a random order that is always the same."""
    readers: Mapping[str, tuple[Callable[[Path], Iterator[tuple[str, str]]], Path]] = {
        "sst2": (_jsonl, data / "sst2" / "train.jsonl"),
        "cola": (_jsonl, data / "cola" / "train.jsonl"),
        "ag_news_raw": (_headlines, data / "ag_news_raw" / "train_first2400.csv"),
        "reviews": (_jsonl, REVIEWS),
    }
    read, path = readers[text]
    lines = {
        " ".join(words.casefold().split()): Line(number, words.strip(), label)
        for number, (words, label) in enumerate(read(path))
    }
    chosen = list(lines.values())
    random.Random(f"rows of {text}").shuffle(chosen)
    return tuple(chosen)


def _jsonl(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            row = json.loads(line)
            yield row["text"], row["label"]


def _headlines(path: Path) -> Iterator[tuple[str, str]]:
    classes = path.with_name("classes.txt").read_text(encoding="utf-8").split("\n")
    with path.open(encoding="utf-8", newline="") as file:
        for number, title, _ in csv.reader(file):
            yield title, classes[int(number) - 1].strip()
