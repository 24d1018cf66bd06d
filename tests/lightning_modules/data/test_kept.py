"""Rows of large files are read once, as those of small ones, and believed if nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_modules.data import files, kept, tabular
from lightning_modules.data.file import large
from lightning_modules.error import UserError
from lightning_modules.machine.file import DiskFull
from lightning_modules.machine.store import ROWS, cache_folder
from lightning_modules.rows import columns
from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Corpus
from lightning_modules.run import Run
from search.config import build_run, compose
from tests.conftest import write_jsonl
from tests.lightning_modules.quality.texts import labelled

EVERY = labelled(60)
WORDS = st.text("abcdeé 0", min_size=3, max_size=12).filter(str.strip)
LABELS = {
    "classification": st.sampled_from(["x", "1", "1.0", 1, 1.0, True, "true", 0.5, "0.50"]),
    "regression": st.sampled_from([1, 1.0, "1", 0.5, "2.5", -0.0, 3]),
    "multi_label_classification": st.lists(st.sampled_from(["x", "1", 1.0]), max_size=2),
    "token_classification": st.lists(st.sampled_from(["O", "B-x", "I-x"]), min_size=2, max_size=2),
    "generation": st.sampled_from(["yes", " no", 4, "null", "\u2028"]),
}
ODD = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(
            [None, "", "NA", "half \ud83d", 1, ["a", "b"], {"a": 1}, 10**20, "[1"]
        )
        for name in ("text", "label", "late")
    },
)


@pytest.fixture(autouse=True)
def every_file_is_large(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    monkeypatch.setenv("FINESWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))


def run_of(*words: str) -> Run:
    return build_run(compose("train", ["data=files", "data.train=train.jsonl", *words]).tree)


def load(*words: str) -> Corpus:
    run = run_of(*words)
    return run.data.load(run.task)


def as_read(corpus: Corpus) -> tuple[object, ...]:
    assert corpus.read is not None
    splits, read = (
        {split: list(rows) for split, rows in each.items()} for each in (corpus.splits, corpus.read)
    )
    return splits, read, corpus.notes, corpus.left_out, corpus.fingerprint


@st.composite
def files_of_rows(draw: st.DrawFn) -> tuple[str, list[list[dict[str, Any]]]]:
    """Return a task, and the rows of files for it, some of them twice or refused."""
    task = draw(st.sampled_from(sorted(LABELS)))
    text = st.just(["a", "b"]) if task == "token_classification" else WORDS
    row = st.fixed_dictionaries({"text": text, "label": LABELS[task]}, optional={"late": WORDS})
    rows = draw(st.lists(row, min_size=4, max_size=14))
    rows += draw(st.lists(st.sampled_from(rows), max_size=3))
    rows += draw(st.lists(ODD, max_size=2)) if draw(st.integers(0, 4)) == 0 else []
    second = [dict(reversed(row.items())) for row in rows[:3]]
    return task, [rows, second] if draw(st.booleans()) else [rows]


def found(run: Run) -> object:
    """Return all that is read, as text, which tells 1 from 1.0; or why it is refused."""
    try:
        corpus = run.data.load(run.task)
    except UserError as error:
        return [str(problem) for problem in error.problems]
    splits, read, *rest = as_read(corpus)
    rows = [
        {split: [repr(sorted(row.items())) for row in rows] for split, rows in each.items()}
        for each in (splits, read)
    ]
    return rows, list(corpus.splits), rest, corpus.pool_fingerprint


@pytest.mark.thorough
@settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(files_of_rows(), st.sampled_from(["0", "0.2"]), st.sampled_from(["null", "6"]))
def test_random_rows_are_those_of_small_files(
    here: Path, given_files: tuple[str, list[list[dict[str, Any]]]], test: str, most: str
) -> None:
    task, parts = given_files
    names = ["train.jsonl", "b.jsonl"][: len(parts)]
    for name, rows in zip(names, parts, strict=True):
        write_jsonl(here / name, rows)
    words = [f"task={task}", f"data.train=[{','.join(names)}]", "data.text=text"]
    words += ["data.label=label", f"data.test_fraction={test}", f"data.max_train_rows={most}"]
    run = run_of(*words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "LARGE_BYTES", 10**9)
        expected = found(run)
        patch.setattr(large, "LARGE_BYTES", 0)
        patch.setattr(large, "SAMPLE_SIZE", 0)
        patch.setattr(columns, "FEW_ROWS", 0)
        patch.setattr(columns, "ROWS_AT_ONCE", 3)
        assert found(run) == expected
        patch.setattr(files, "LARGE_BYTES", 0)
        assert found(run) == expected
        assert found(run) == expected


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
    made = load()
    assert made.notes[-1].startswith(f"{entry} is damaged, and is made again: ")
    assert as_read(replace(made, notes=made.notes[:-1])) == expected
    assert as_read(load()) == expected


def test_it_is_said_if_rows_are_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    monkeypatch.setenv("FINESWEEP_CACHE_GB", "0.000001")
    assert "FINESWEEP_CACHE_GB" in load().notes[-1]
    monkeypatch.setenv("FINESWEEP_CACHE", "/dev/null/cache")
    assert "/dev/null/cache" in load().notes[-1]
    monkeypatch.delenv("FINESWEEP_CACHE_GB")

    def full(*given: Any) -> None:
        raise DiskFull(here / "rows", None)

    monkeypatch.setattr(kept, "stored", full)
    corpus = load()
    assert "has no space for the checked rows" in corpus.notes[-1]
    assert len(corpus.splits["train"]) > 40


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    read = tabular.Tabular.rows_of

    def late(self: Any, tables: Any, *rest: Any) -> Any:
        rows = read(self, tables, *rest)
        write_jsonl(here / "train.jsonl", EVERY[:-1])
        return rows

    with monkeypatch.context() as patch, pytest.raises(UserError, match="must not change while"):
        patch.setattr(tabular.Tabular, "rows_of", late)
        load()
    assert not [each for each in (cache_folder() / ROWS).iterdir() if each.is_dir()]


def test_a_setting_that_no_row_depends_on_is_refused_as_if_none_was_kept(here: Path) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    load()
    with pytest.raises(UserError, match=r"data.system: must be null for task=classification"):
        load("data.system=Hello")


def test_other_versions_read_the_rows_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(here / "train.jsonl", EVERY)
    before = as_read(load())
    monkeypatch.setattr("sys.version", "another")
    kept._code.cache_clear()
    assert as_read(load()) == before
    kept._code.cache_clear()
    assert len([each for each in (cache_folder() / ROWS).iterdir() if each.is_dir()]) == 2


def test_what_is_refused_is_not_kept(here: Path) -> None:
    write_jsonl(here / "train.jsonl", [*EVERY, {"text": "", "label": "good"}])
    for _ in range(2):
        with pytest.raises(UserError, match=r"train.jsonl:61:text: must not be empty"):
            load()
