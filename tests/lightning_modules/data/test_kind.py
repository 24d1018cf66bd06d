from __future__ import annotations

from pathlib import Path

from lightning_modules.data.kind import kind_notes, spelling_notes
from lightning_modules.data.table import Table
from lightning_modules.rows import cell


def notes(*labels: str) -> list[str]:
    rows = [{"label": label} for label in labels]
    table = Table(Path("a.csv"), ["label"], rows, range(2, len(rows) + 2))
    return list(kind_notes(table, "label", labels))


def test_a_word_after_numbers_is_told_with_its_row() -> None:
    assert notes(*["0", "1"] * 20, "positive", "1") == [
        "a.csv:42:label: 'positive' is a word, but the labels above it are numbers, e.g. '0'; "
        "1 of 42 labels is of another kind"
    ]


def test_labels_of_one_kind_are_not_told() -> None:
    assert notes("good", "bad", "007x") == notes("0", "1.5", "-2") == notes("true", "false") == []


def test_answers_are_no_classes() -> None:
    assert notes("4", *[f"word {number}" for number in range(60)]) == []


def test_two_spellings_of_a_label_are_told() -> None:
    rows = [{"label": label} for label in ("1.1", "1.10", "True", "true", "2", " 2 ")]
    table = Table(Path("a.csv"), ["label"], rows, range(2, len(rows) + 2))
    labels = [str(cell.label(row["label"])) for row in rows]
    assert list(spelling_notes(table, "label", labels)) == [
        "a.csv:label: 1.1 and 1.10 are read as one label, '1.1', and so for 1 more"
    ]
    assert list(spelling_notes(table, "label", [row["label"] for row in rows])) == []
