"""Training rows that are also in validation or test: left out, refused or kept, and always said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.data import leak
from lightning_modules.error import DataError
from lightning_modules.rows.corpus import Corpus
from search.config import build_run, compose
from tests.conftest import write_jsonl
from tests.lightning_modules.quality.texts import labelled, sentences

ROWS = labelled(60)
TRAIN, VALIDATION, TEST = ROWS[:40], ROWS[40:50], ROWS[50:]


def load(here: Path, train: list[dict[str, Any]], *words: str) -> Corpus:
    splits = {"train": train, "validation": VALIDATION, "test": TEST}
    for name, rows in splits.items():
        write_jsonl(here / f"{name}.jsonl", rows)
    names = [f"data.{name}={name}.jsonl" for name in splits]
    run = build_run(compose("train", ["data=files", *names, *words]).tree)
    return run.data.load(run.task)


def leaking() -> list[dict[str, Any]]:
    """Return training rows with one of validation in capitals, and one near a test row."""
    equal = {"text": VALIDATION[2]["text"].upper(), "label": "bad"}
    near = {"text": f"{TEST[4]['text']}!", "label": "good"}
    return [*TRAIN[:20], equal, near, *TRAIN[20:]]


def test_rows_are_left_out_of_training_and_the_fingerprint_stays(here: Path) -> None:
    corpus = load(here, leaking())
    assert corpus.splits["train"] == TRAIN
    assert corpus.splits["validation"] == VALIDATION and corpus.splits["test"] == TEST
    assert corpus.notes == (
        "2 training rows are also in validation or test (1 nearly: Jaccard >= 0.8): left out of "
        "training (data.on_leak=drop)",
    )
    kept = load(here, leaking(), "data.on_leak=keep")
    assert kept.splits["train"] == leaking()
    assert kept.fingerprint == corpus.fingerprint


def test_an_error_names_a_row(here: Path) -> None:
    with pytest.raises(DataError) as raised:
        load(here, leaking(), "data.on_leak=error")
    (problem,) = raised.value.problems
    assert problem.where == "data.on_leak" and VALIDATION[2]["text"].upper()[:40] in str(problem)
    assert load(here, TRAIN, "data.on_leak=error").notes == ()


def test_the_last_row_of_a_label_stays(here: Path) -> None:
    odd = [{"text": row["text"], "label": "odd"} for row in TEST[:2]]
    corpus = load(here, [*TRAIN, *odd])
    assert corpus.splits["train"] == [*TRAIN, odd[0]]
    assert "but for 1 that no other row has the label of" in corpus.notes[0]


def test_the_same_file_for_all_splits_is_trained_on_and_said(here: Path) -> None:
    corpus = load(here, [*VALIDATION, *TEST])
    assert corpus.splits["train"] == [*VALIDATION, *TEST]
    assert corpus.notes[0].startswith("every training row is also in validation or test")


def test_rows_drawn_for_validation_have_no_near_twin_in_train(here: Path) -> None:
    rows = [{"text": text, "label": ("a", "b")[n % 2]} for n, text in enumerate(sentences(80))]
    rows += [{**row, "text": f"{row['text']}."} for row in rows]
    write_jsonl(here / "my.jsonl", rows)
    run = build_run(compose("train", ["data=files", "data.train=my.jsonl"]).tree)
    splits = run.data.load(run.task).splits
    plain = {name: {row["text"].rstrip(".") for row in each} for name, each in splits.items()}
    assert len(splits["train"]) > 50
    assert not plain["train"] & (plain["validation"] | plain["test"])


def test_texts_whose_numbers_differ_are_not_near(here: Path) -> None:
    text = TEST[4]["text"]
    near, other = ({"text": f"{text} {end}", "label": "bad"} for end in ("!", "7"))
    assert load(here, [*TRAIN, near, other]).splits["train"] == [*TRAIN, other]


def test_what_is_not_looked_for_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak, "MAX_CHARACTERS", 100)
    corpus = load(here, leaking())
    assert len(corpus.splits["train"]) == 41
    assert "near duplicates between splits were not looked for" in corpus.notes[1]
