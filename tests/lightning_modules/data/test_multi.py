from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_modules.data.multi import with_labels
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError


def read(rows: list[dict[str, Any]], **settings: Any) -> tuple[list[Any], list[str]]:
    table = Table(Path("a.csv"), list(rows[0]), rows, range(2, len(rows) + 2))
    task: Any = SimpleNamespace(**{"separator": None, "label_columns": None, **settings})
    found, notes = with_labels(table, "labels", task)
    return [row["labels"] for row in found.rows], notes


def test_labels_between_bars() -> None:
    rows = [{"labels": "sport|money"}, {"labels": " law "}, {"labels": ""}]
    assert read(rows, separator="|") == (
        [["sport", "money"], ["law"], []],
        ["a.csv: labels read as labels between '|'; 1 of 3 rows have none"],
    )


def test_lists_as_json_stay_lists_also_with_a_separator() -> None:
    rows = [{"labels": '["sport", "money"]'}, {"labels": "[sic]|law"}, {"labels": "[]"}]
    found, _ = read(rows, separator="|")
    assert found == [["sport", "money"], ["[sic]", "law"], []]


def test_a_column_for_each_label() -> None:
    rows = [
        {"text": "a", "sport": "1", "money": 0},
        {"text": "b", "sport": True, "money": 1.0},
        {"text": "c", "sport": "False", "money": "no"},
    ]
    assert read(rows, label_columns=["sport", "money"]) == (
        [["sport"], ["sport", "money"], []],
        ["a.csv: read the labels sport, money from a column each; 1 of 3 rows have none"],
    )


def test_another_value_is_refused_with_its_place() -> None:
    rows = [{"sport": 1, "money": 2}]
    with pytest.raises(DataError, match=r"a\.csv:2:money: must be 0 or 1, got 2\."):
        read(rows, label_columns=["sport", "money"])


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.label_columns: .* got 'sprt'\. Did you mean"):
        read([{"sport": 1, "money": 2}], label_columns=["sprt", "money"])


def test_lists_stay_as_they_are() -> None:
    assert read([{"labels": '["sport"]'}]) == (['["sport"]'], [])
