"""Words for a missing value are said, and stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.data.missing import missing_notes
from lightning_modules.data.read import Wanted, read_table

COLUMNS = {"text": "text", "label": "label"}


def notes(rows: list[tuple[str, str]]) -> list[str]:
    lines = [",".join(row) for row in [("text", "label"), *rows]]
    Path("a.csv").write_text("\n".join(lines), encoding="utf-8")
    table = read_table(Path("a.csv"), "data.train", wanted=Wanted(("text", "label")))
    return list(missing_notes([table], COLUMNS))


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "\\N", "#N/A"])
def test_a_word_for_a_missing_value_is_said(word: str) -> None:
    (note,) = notes([("fine", "good"), ("poor", word), ("dull", word)])
    assert note.startswith(f"a.csv: 2 rows have {word!r} as label")


def test_a_text_for_a_missing_value_is_said() -> None:
    assert notes([("nan", "good"), ("poor", "bad")])[0].startswith("a.csv: 1 row has 'nan' as text")


def test_words_that_only_hold_one_are_not_said() -> None:
    assert notes([("NA is short", "nano"), ("no nan", "bad")]) == []
