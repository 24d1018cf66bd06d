"""Rows of large files are read once, and believed only if nothing changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.data import files, tabular
from lightning_modules.error import UserError
from lightning_modules.machine.store import ROWS, cache_folder
from lightning_modules.rows import columns
from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Corpus
from search.config import build_run, compose
from tests.conftest import write_jsonl
from tests.lightning_modules.quality.texts import labelled

EVERY = labelled(60)


@pytest.fixture(autouse=True)
def every_file_is_large(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))


def load(*words: str) -> Corpus:
    run = build_run(compose("train", ["data=files", "data.train=train.jsonl", *words]).tree)
    return run.data.load(run.task)


def as_read(corpus: Corpus) -> tuple[object, ...]:
    assert corpus.read is not None
    splits, read = (
        {split: list(rows) for split, rows in each.items()} for each in (corpus.splits, corpus.read)
    )
    return splits, read, corpus.notes, corpus.left_out, corpus.fingerprint


@pytest.mark.parametrize("few", [0, 20_000])
def test_rows_are_read_once_and_stay_the_same(
    here: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(columns, "FEW_ROWS", few)
    write_jsonl(here / "train.jsonl", [*EVERY, {**EVERY[3], "text": EVERY[3]["text"].upper()}])
    monkeypatch.setattr(files, "LARGE_BYTES", 10**9)
    expected = load("data.test_fraction=0.1")
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    first = load("data.test_fraction=0.1")
    monkeypatch.setattr(tabular.Tabular, "rows_of", None)  # nothing is read again
    again = load("data.test_fraction=0.1")
    assert as_read(again) == as_read(first) == as_read(expected)
    assert list(again.splits) == list(expected.splits)
    assert all(isinstance(rows, Columns) is (few == 0) for rows in again.splits.values())


@pytest.mark.parametrize("change", ["file", "setting", "task"])
def test_other_rows_are_read_again(here: Path, change: str) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    first = load()
    if change == "file":
        write_jsonl(here / "train.jsonl", EVERY[:-1])
    words = {"setting": ["data.split_seed=7"], "task": ["task.label_smoothing=0.1"]}
    again = load(*words.get(change, ()))
    assert (as_read(again) == as_read(first)) == (change == "task")
    num_entries = len([each for each in (cache_folder() / ROWS).iterdir() if each.is_dir()])
    assert num_entries == (1 if change == "task" else 2)


def test_a_damaged_entry_is_made_again(here: Path) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    expected = as_read(load())
    (entry,) = (cache_folder() / ROWS).iterdir()
    for path in entry.glob("*.arrow"):
        path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    assert as_read(load()) == expected


def test_what_is_refused_is_not_kept(here: Path) -> None:
    write_jsonl(here / "train.jsonl", [*EVERY, {"text": "", "label": "good"}])
    for _ in range(2):
        with pytest.raises(UserError, match=r"train.jsonl:61:text: must not be empty"):
            load()
