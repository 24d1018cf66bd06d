from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import UserError
from lightning_modules.guard.source import DataRows, FileRows
from tests.conftest import write_jsonl
from tests.lightning_modules.guard.conftest import DECODER, guard_of, run_of, write_texts

LABELS = ("negative", "positive")
OLD = "{{data: {}, metric: {}, {}}}"


def test_a_file_has_the_columns_of_the_runs_data(here: Path) -> None:
    rows = [{"review": "A great hotel.", "stars": "positive", "id": 7}]
    write_jsonl(here / "old.jsonl", rows)
    words = ("model=tiny", "data=files", "data.train=x", "data.text=review", "data.label=stars")
    guard = guard_of(OLD.format("old.jsonl", "accuracy", "at_least: -2%"))
    loaded = guard.load(run_of(*words), LABELS)
    assert loaded.rows == [{"text": "A great hotel.", "label": "positive"}]
    assert loaded.is_own and loaded.task.metric == "accuracy" and guard.name == "old"


def test_a_data_set_gives_its_validation_rows(here: Path) -> None:
    guard = guard_of(OLD.format("reviews", "loss", "at_most: 0.7"))
    loaded = guard.load(run_of("model=tiny"), LABELS)
    assert loaded.size == "200 rows" and loaded.task.metric == "log_loss"
    assert guard.name == "reviews"


def test_texts_without_the_answers_of_the_run_are_plain_text(here: Path) -> None:
    write_texts(here, num=5)
    write_jsonl(here / "pairs.jsonl", [{"text": "Which hotel?", "answer": "The old one."}])
    chat = (*DECODER, "data=files", "data.train=x", "task.label=answer")
    for name, is_own in (("texts.jsonl", False), ("pairs.jsonl", True)):
        guard = guard_of(OLD.format(name, "perplexity", "at_most: +5%"))
        loaded = guard.load(run_of(*chat), ())
        assert loaded.is_own is is_own and loaded.task.metric == "perplexity"
        assert loaded.task.num_generated == 0


@pytest.mark.parametrize(
    ("data", "metric", "bound", "message"),
    [
        ("gone.csv", "accuracy", "at_least: -2%", "data: must be a file, got 'gone.csv'"),
        ("texts.jsonl", "accuracy", "at_least: 0.5", "data.label: must be a column of texts.jsonl"),
        ("strange.jsonl", "accuracy", "at_least: 0.5", "must be one of the model's labels"),
        ("reviews", "f1", "at_least: 0.5", "metric: must be one of accuracy"),
        ("reviews", "accuracy", "at_most: 0.5", "accuracy is better if it is higher"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(
    here: Path, data: str, metric: str, bound: str, message: str
) -> None:
    write_texts(here, num=2)
    write_jsonl(here / "strange.jsonl", [{"text": "A great hotel.", "label": "neutral"}])
    run = run_of("model=tiny", "data=files", "data.train=x")
    with pytest.raises(UserError) as error:
        guard_of(OLD.format(data, metric, bound)).load(run, LABELS)
    assert message in str(error.value)


def test_answers_are_compared_only_if_they_are_generated(here: Path) -> None:
    write_jsonl(here / "pairs.jsonl", [{"text": "Which hotel?", "answer": "The old one."}])
    chat = (*DECODER, "data=files", "data.train=x", "task.label=answer")
    guard = guard_of(OLD.format("pairs.jsonl", "rougeL", "at_least: 0.1"))
    with pytest.raises(UserError, match=r"rougeL compares answers that are generated"):
        guard.load(run_of(*chat), ())
    assert guard.load(run_of(*chat, "task.num_generated=3"), ()).task.metric == "rougeL"


@pytest.mark.parametrize(
    ("spelling", "labels"), [("written", ("False", "True")), ("value", ("false", "true"))]
)
def test_labels_are_spelt_as_those_of_the_run(
    here: Path, spelling: str, labels: tuple[str, str]
) -> None:
    """A study of an earlier version has True where a new one has true."""
    lines = "".join(f"text {n},{n % 2 == 0}\n" for n in range(20))
    Path("old.csv").write_text(f"text,label\n{lines}")
    files = ("model=tiny", "data=files", "data.train=old.csv")
    run = run_of(*files, f"data.spelling={spelling}")
    guard = guard_of(OLD.format("old.csv", "accuracy", "at_least: -2%"))
    for source in (FileRows(Path("old.csv")), DataRows(run_of(*files).data)):
        loaded = source.load(run, labels, guard)
        assert {row["label"] for row in loaded.rows} == set(labels)
