"""A label has one spelling in files of all formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lightning_modules.data.read import read_table
from lightning_modules.rows import cell
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.spelling import respelt
from lightning_modules.task.label import of_export

VALUES = [
    ("True", True, "true"),
    ("false", False, "false"),
    ("1", 1, "1"),
    ("1.0", 1.0, "1"),
    ("-0", -0.0, "0"),
    ("0.50", 0.5, "0.5"),
    ("-2.250", -2.25, "-2.25"),
    ("0.00001", 1e-05, "0.00001"),
]


@pytest.mark.parametrize(("written", "value", "label"), VALUES)
def test_a_label_is_spelt_alike_in_csv_json_and_parquet(
    here: Path, written: str, value: Any, label: str
) -> None:
    Path("a.csv").write_text(f"text,label\nfine,{written}\n")
    Path("a.jsonl").write_text(json.dumps({"text": "fine", "label": value}) + "\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["fine"], "label": [value]}), "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        columns = {"text": "text", "label": "label"}
        rows = read_table(Path(name), "data").read(
            columns, {"text": cell.text, "label": cell.label}
        )
        assert [row["label"] for row in rows] == [label], name


@pytest.mark.parametrize("word", ["007", "1e3", "1_000", "+1", "1.", "truely", "٤", "1,5", "--1"])
def test_a_word_that_is_no_plain_number_stays(word: str) -> None:
    assert cell.label(word) == word


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2.0**60])
def test_a_number_that_is_no_label_is_refused(number: float) -> None:
    assert isinstance(cell.label(number), Refused)


def test_labels_of_an_earlier_export_are_those_of_rows_now() -> None:
    assert of_export(["True", "False"], cell.label) == ("true", "false")
    assert of_export(["True", "False"], cell.tags) == ("True", "False")
    assert respelt(["1.1", "1.10"]) == ("1.1", "1.10")
