from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.data.files import Files
from lightning_modules.data.leak import OnLeak
from lightning_modules.error import ConfigError, DataError
from lightning_modules.rows.corpus import normalized
from lightning_modules.rows.spelling import Spelling
from tests.conftest import classification

TASK = classification()


def files(**changes: Any) -> Files:
    values = {
        "train": "train.jsonl",
        "validation": None,
        "test": None,
        "text": "text",
        "text_pair": None,
        "label": "label",
        "system": None,
        "batch_size": 16,
        "max_length": 128,
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
        "split_seed": 0,
        "validation_seed": None,
        "max_train_rows": None,
        "delimiter": "auto",
        "quoting": "auto",
        "header": "auto",
        "encoding": "auto",
        "columns": None,
        "spelling": Spelling.value,
        "on_leak": OnLeak.drop,
    }
    return Files(**{**values, **changes})


def write(name: str, texts: list[str]) -> None:
    rows = [
        {"text": text, "label": "positive" if number % 2 else "negative"}
        for number, text in enumerate(texts)
    ]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def numbered(word: str, count: int) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def sizes(data: Files) -> dict[str, int]:
    return {split: len(rows) for split, rows in data.load(TASK).splits.items()}


@pytest.fixture(autouse=True)
def train() -> None:
    write("train.jsonl", numbered("train", 200))


def test_missing_splits_are_taken_from_train() -> None:
    corpus = files().load(TASK)
    assert list(corpus.splits) == ["train", "validation", "test"]
    assert {split: len(rows) for split, rows in corpus.splits.items()} == {
        "train": 140,
        "validation": 20,
        "test": 40,
    }
    every = [row["text"] for rows in corpus.splits.values() for row in rows]
    assert sorted(every) == sorted(numbered("train", 200))


def test_taken_splits_have_the_label_balance_of_train() -> None:
    for rows in files().load(TASK).splits.values():
        assert len(set(Counter(row["label"] for row in rows).values())) == 1


def test_given_split_files_are_used_completely() -> None:
    write("validation.jsonl", numbered("validation", 10))
    write("test.jsonl", numbered("test", 12))
    data = files(validation="validation.jsonl", test="test.jsonl")
    assert sizes(data) == {"train": 200, "validation": 10, "test": 12}


def test_a_missing_split_is_taken_from_train_if_the_other_is_given() -> None:
    write("test.jsonl", numbered("test", 12))
    assert sizes(files(test="test.jsonl")) == {"train": 180, "validation": 20, "test": 12}


def test_a_test_fraction_of_0_means_no_test_split() -> None:
    assert sizes(files(test_fraction=0)) == {"train": 180, "validation": 20}


def test_the_split_seed_decides_which_rows_are_taken() -> None:
    assert files().load(TASK).fingerprint == files().load(TASK).fingerprint
    assert files().load(TASK).fingerprint != files(split_seed=1).load(TASK).fingerprint


def test_the_validation_seed_moves_no_test_row() -> None:
    plain, same, other = (files(validation_seed=seed).load(TASK) for seed in (None, 0, 1))
    assert plain.splits == same.splits
    assert other.splits["test"] == plain.splits["test"]
    assert other.splits["validation"] != plain.splits["validation"]
    pools = [
        sorted(row["text"] for s in ("train", "validation") for row in corpus.splits[s])
        for corpus in (plain, other)
    ]
    assert pools[0] == pools[1] and len(pools[0]) == 160
    assert other.fingerprint != plain.fingerprint
    assert other.pool_fingerprint == plain.pool_fingerprint


def test_the_pool_has_the_rows_of_training_and_validation_alone() -> None:
    plain = files().load(TASK)
    assert files(split_seed=1).load(TASK).pool_fingerprint != plain.pool_fingerprint
    assert files(max_train_rows=50).load(TASK).pool_fingerprint == plain.pool_fingerprint
    write("train.jsonl", numbered("train", 199))
    assert files().load(TASK).pool_fingerprint != plain.pool_fingerprint


def test_the_test_split_does_not_depend_on_the_validation_fraction() -> None:
    first, second = (files(validation_fraction=share).load(TASK).splits for share in (0.1, 0.3))
    assert first["test"] == second["test"]


def test_taking_a_split_keeps_duplicates_out_of_train() -> None:
    write("train.jsonl", [*numbered("train", 100), *numbered("TRAIN", 100)])
    corpus = files().load(TASK)
    seen = [{normalized(row["text"]) for row in rows} for rows in corpus.splits.values()]
    assert corpus.notes == ()
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_rows_that_are_also_in_train_are_noted() -> None:
    write("validation.jsonl", ["Train  7", "validation 1", "validation 2"])
    write("test.jsonl", ["train 8", "TRAIN 9", "test 1"])
    data = files(validation="validation.jsonl", test="test.jsonl", on_leak=OnLeak.keep)
    assert data.load(TASK).notes == (
        "1 validation row is also in train: validation scores are too optimistic",
        "2 test rows are also in train: test scores are too optimistic",
        "1 text occurs with different labels",
    )


def test_columns_are_chosen_by_name() -> None:
    Path("train.csv").write_text(
        "id,body,stars\n" + "".join(f"{n},text {n},{n % 3}\n" for n in range(60)), encoding="utf-8"
    )
    rows = files(train="train.csv", text="body", label="stars").load(TASK).splits["train"]
    assert set(rows[0]) == {"text", "label"}
    assert {row["label"] for row in rows} == {"0", "1", "2"}


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sum(sizes(files(train="~/train.jsonl")).values()) == 200


def test_all_missing_files_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        files(train="no.csv", test="none.csv").load(TASK)
    assert [problem.where for problem in raised.value.problems] == ["data.train", "data.test"]
    assert "In .: train.jsonl." in str(raised.value)


def test_a_broken_row_names_its_file() -> None:
    Path("test.csv").write_text("text,label\nfine,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^test\.csv:2:label: must not be empty"):
        files(test="test.csv").load(TASK)


@pytest.mark.parametrize("num_rows", [5, 300])
@pytest.mark.parametrize("validation", [None, "validation.jsonl"])
def test_a_label_column_with_unique_values_is_refused(
    num_rows: int, validation: str | None
) -> None:
    rows = [{"id": f"id-{n}", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(num_rows)]
    for name in ("train.jsonl", "validation.jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = files(label="id", validation=validation)
    with pytest.raises(DataError) as raised:
        data.load(TASK)
    assert str(raised.value) == (
        f"data.label: must hold labels that repeat, got {num_rows} different labels in the "
        f"{num_rows} rows of train.jsonl. Set data.label to the column with the classes."
    )


def test_one_row_per_label_is_enough_if_the_other_splits_have_files() -> None:
    write("train.jsonl", ["one", "two"])
    write("validation.jsonl", numbered("validation", 10))
    assert sizes(files(validation="validation.jsonl", test_fraction=0))["train"] == 2


@pytest.mark.parametrize(
    ("texts", "is_noted"),
    [
        (["7", "8.5", "-9"], True),
        (["2024-01-03", "2024-02-01", "2024-02-07"], True),
        (["7", "8", "Gate 9"], False),
        (["寒い", "暑い", "7"], False),
    ],
)
def test_a_text_column_without_letters_is_noted(texts: list[str], is_noted: bool) -> None:
    for name in ("train.jsonl", "validation.jsonl"):
        write(name, [*texts] * 2)
    notes = files(validation="validation.jsonl", test_fraction=0).load(TASK).notes
    note = "no text in data.text=text has a letter: check the name of the column"
    assert (note in notes) is is_noted


def test_too_few_rows_to_take_a_validation_split_are_refused() -> None:
    write("train.jsonl", ["one", "two"])
    with pytest.raises(DataError):
        files().load(TASK)


@pytest.mark.parametrize(
    ("changes", "where", "rule"),
    [
        ({"train": None}, "train", "must be a file, got None. Set data.train=my.csv."),
        ({"validation_fraction": 0}, "validation_fraction", "must be > 0 if data.validation"),
        ({"validation_fraction": 0.5}, "validation_fraction", "must be >= 0 and < 0.5"),
        ({"test_fraction": -0.1}, "test_fraction", "must be >= 0 and < 0.5"),
        ({"max_train_rows": 0}, "max_train_rows", "must be > 0"),
        ({"batch_size": 0}, "batch_size", "must be > 0"),
        ({"max_length": 2}, "max_length", "must be > 2 tokens"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], where: str, rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        files(**changes)
    assert str(raised.value).startswith(f"{where}: {rule}")


def test_validation_fraction_may_be_0_if_validation_has_a_file() -> None:
    write("validation.jsonl", numbered("validation", 10))
    data = files(validation="validation.jsonl", validation_fraction=0)
    assert sizes(data) == {"train": 160, "validation": 10, "test": 40}


def test_training_rows_are_limited_after_the_splits_are_taken() -> None:
    whole, part = files().load(TASK).splits, files(max_train_rows=50).load(TASK).splits
    assert (part["validation"], part["test"]) == (whole["validation"], whole["test"])
    assert Counter(row["label"] for row in part["train"]) == {"negative": 25, "positive": 25}
    assert [row for row in whole["train"] if row in part["train"]] == part["train"]


def test_a_larger_limit_adds_rows() -> None:
    parts = [files(max_train_rows=limit).load(TASK).splits["train"] for limit in (20, 33, 50)]
    texts = [{row["text"] for row in part} for part in parts]
    assert texts[0] < texts[1] < texts[2]


def test_a_limit_above_the_number_of_rows_changes_nothing() -> None:
    assert files(max_train_rows=140).load(TASK).fingerprint == files().load(TASK).fingerprint


def test_a_limit_below_the_number_of_labels_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^data\.max_train_rows: must be >= 2, the number of labels"
    ):
        files(max_train_rows=1).load(TASK)
