from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError
from search.trained.written import added_columns, check_cells, check_ending, write_predictions

ROWS: list[dict[str, Any]] = [
    {"text": 'a "b", c\r\nd', "id": 1, "ok": True, "tags": ["x", "y"]},
    {"text": " é\u2028", "id": None, "ok": False, "tags": []},
    {"text": "lacks the rest"},
]
SCORES = [
    {"prediction": label, "scores": {"a": a, "b": b, "c": c}}
    for label, a, b, c in (("b", 0.1, 0.7, 0.2), ("a", 0.5, 0.3, 0.2), ("c", 0.25, 0.25, 0.5))
]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_scores_in_every_format(here: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        write_predictions(Path(f"out.{ending}"), ROWS, SCORES)
    lines = Path("out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [
        {**row, **each} for row, each in zip(ROWS, SCORES, strict=True)
    ]
    table = read_csv(Path("out.csv"))
    assert [row["text"] for row in table] == [row["text"] for row in ROWS]
    assert [row["id"] for row in table] == ["1", "", ""]
    assert [row["ok"] for row in table] == ["true", "false", ""]
    assert [row["tags"] for row in table] == ['["x", "y"]', "[]", ""]
    assert [json.loads(row["scores"]) for row in table] == [each["scores"] for each in SCORES]
    records = pyarrow.parquet.read_table("out.parquet").to_pylist()
    filled = [{"id": None, "ok": None, "tags": None, **row} for row in ROWS]
    assert records == [{**row, **each} for row, each in zip(filled, SCORES, strict=True)]


def test_the_most_probable_labels_are_columns(here: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        write_predictions(Path(f"out.{ending}"), ROWS, SCORES, top=2)
    tops = [("b", 0.7, "c", 0.2), ("a", 0.5, "b", 0.3), ("c", 0.5, "a", 0.25)]
    names = added_columns(Path("out.csv"), ["prediction", "scores"], 2)
    assert names == ["prediction", "top1", "top1_score", "top2", "top2_score"]
    table = read_csv(Path("out.csv"))
    assert list(table[0]) == ["text", "id", "ok", "tags", *names]
    assert [tuple(row[name] for name in names[1:]) for row in table] == [
        tuple(map(str, top)) for top in tops
    ]
    records = pyarrow.parquet.read_table("out.parquet").to_pylist()
    assert [tuple(row[name] for name in names[1:]) for row in records] == tops
    lines = Path("out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    scores = [list(json.loads(line)["scores"].items()) for line in lines]
    assert scores == [[(a, p), (b, q)] for a, p, b, q in tops]
    assert added_columns(Path("out.jsonl"), ["prediction", "scores"], 2) == ["prediction", "scores"]


def test_what_parquet_has_no_type_for_is_json(here: Path) -> None:
    rows: list[dict[str, Any]] = [{"x": 1, "y": {}, "z": 2**70}, {"x": "one", "y": {}, "z": 0}]
    write_predictions(Path("out.parquet"), rows, [{"prediction": []}, {"prediction": ["a"]}])
    assert pyarrow.parquet.read_table("out.parquet").to_pylist() == [
        {"x": "1", "y": "{}", "z": str(2**70), "prediction": []},
        {"x": '"one"', "y": "{}", "z": "0", "prediction": ["a"]},
    ]


@pytest.mark.parametrize("cell", [{"a": {}}, [{"a": {"b": {}}}], {"a": [{}], "b": 1}])
def test_an_empty_object_within_another_is_json_in_parquet(cell: Any, here: Path) -> None:
    write_predictions(Path("out.parquet"), [{"meta": cell}, {}], SCORES[:2])
    found = pyarrow.parquet.read_table("out.parquet")["meta"].to_pylist()
    assert [None if each is None else json.loads(each) for each in found] == [cell, None]


def test_half_a_character_is_kept_as_json_or_refused_with_its_place(here: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "whole 😀"}, {"id": "half \ud83d", "more": ["\ud83d"]}]
    table = Table(Path("in.jsonl"), ["id", "more"], rows, [1, 2])
    check_cells(table, Path("out.jsonl"))
    write_predictions(Path("out.jsonl"), rows, SCORES[:2])
    first, second = map(json.loads, Path("out.jsonl").read_text("utf-8").splitlines())
    assert (first["id"], second["id"], second["more"]) == ("whole 😀", "half \ud83d", ["\ud83d"])
    for ending in ("csv", "parquet"):
        with pytest.raises(DataError) as error:
            check_cells(table, Path(f"out.{ending}"))
        lines = str(error.value).splitlines()
        assert [line.partition(" ")[0] for line in lines] == ["in.jsonl:2:id:", "in.jsonl:2:more:"]
        assert lines[0].endswith("Correct it, or set output=out.jsonl, which can hold it.")
        check_cells(replace(table, rows=rows[:1]), Path(f"out.{ending}"))


def test_json_has_no_nan_at_any_depth(here: Path) -> None:
    rows = [{"x": math.nan, "y": [{"z": math.inf}, 1.5]}]
    for ending in ("jsonl", "csv"):
        write_predictions(Path(f"out.{ending}"), rows, SCORES[:1])
    found = json.loads(Path("out.jsonl").read_text("utf-8"))
    assert (found["x"], found["y"]) == (None, [{"z": None}, 1.5])
    (row,) = read_csv(Path("out.csv"))
    assert (row["x"], row["y"]) == ("", '[{"z": null}, 1.5]')


def test_a_failure_leaves_no_file(here: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        with pytest.raises(ValueError, match="shorter"):
            write_predictions(Path(f"out.{ending}"), ROWS, SCORES[:2])
    assert not list(here.iterdir())


def test_other_endings_are_refused() -> None:
    check_ending(Path("OUT.CSV"))
    with pytest.raises(ConfigError, match=r"must end with .jsonl, .csv or .parquet, got 'o.xlsx'"):
        check_ending(Path("o.xlsx"))
