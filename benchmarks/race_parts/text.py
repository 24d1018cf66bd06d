"""The texts of the race: the rows that a side gets, and the held-out rows that score it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorded.text import Line, pool

SPLIT = 0.15
"""Share of the rows that the peers validate on; it is finesweep's share, too."""


@dataclass(frozen=True)
class Text:
    """A text of the race.

    Attributes:
        num_rows: Labelled rows that each side gets, for training and validation.
        num_held_out: Other rows, the same ones for all seeds.

    """

    num_rows: int
    num_held_out: int


TEXTS: Mapping[str, Text] = {
    "reviews": Text(400, 600),
    "ag_news_raw": Text(800, 1400),
    "sst2": Text(1000, 2000),
    "cola": Text(2000, 2000),
}


def held_out(name: str, data: Path) -> Sequence[Line]:
    """Return the held-out rows."""
    return pool(name, data)[: TEXTS[name].num_held_out]


def write_files(name: str, data: Path, seed: int, folder: Path) -> None:
    """Write what a side may read: `rows.jsonl`, in parts as `train.jsonl` and `validation.jsonl`.

    `heldout.jsonl` has the texts alone.
    """
    text = TEXTS[name]
    others = list(pool(name, data)[text.num_held_out :])
    random.Random(seed).shuffle(others)
    rows = others[: text.num_rows]
    assert len(rows) == text.num_rows, f"{name} has {len(rows)} rows besides those held out"
    train, validation = _parts(rows)
    for file, part in {"rows": rows, "train": train, "validation": validation}.items():
        labelled = [{"text": each.text, "label": each.label} for each in part]
        _write(folder / f"{file}.jsonl", labelled)
    _write(folder / "heldout.jsonl", [{"text": each.text} for each in held_out(name, data)])


def _parts(rows: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Split rows, which are in a random order, with the same shares of labels in both parts."""
    train: list[Line] = []
    validation: list[Line] = []
    for label in sorted({row.label for row in rows}):
        chosen = [row for row in rows if row.label == label]
        num_validation = round(SPLIT * len(chosen))
        validation += chosen[:num_validation]
        train += chosen[num_validation:]
    return train, validation


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
