"""Files as they are downloaded, read with at most one option."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.data.file.form import Form
from lightning_modules.data.read import Wanted, read_table
from tests.shared import DATA, needs

CASES: Mapping[str, tuple[dict[str, Any], int]] = {
    "ag_news_raw/train_first2400.csv": ({"columns": ["label", "title", "text"]}, 2400),
    "ag_news_raw/test_next600.csv": ({"columns": ["label", "title", "text"]}, 600),
    "cola/raw/in_domain_dev.tsv": ({"columns": ["source", "label", "mark", "text"]}, 527),
    "cola/raw/out_of_domain_dev.tsv": ({"columns": ["source", "label", "mark", "text"]}, 516),
    "stsb/raw/sts-dev.csv": (
        {"columns": ["genre", "file", "year", "id", "label", "text", "text_pair"]},
        1500,
    ),
}


@needs(DATA)
@pytest.mark.parametrize("name", CASES)
def test_raw_files_are_read_with_one_option(name: str) -> None:
    options, num_rows = CASES[name]
    path, columns = DATA / name, options["columns"]
    table = read_table(path, "data.train", Form(**options), Wanted(("text", "label")))
    assert len(table.rows) == num_rows and list(table.columns) == columns
    if name.startswith("ag_news"):
        with path.open(encoding="utf-8", newline="") as file:
            expected = list(csv.reader(file))
    else:
        lines = path.read_bytes().decode().split("\n")
        expected = [line.split("\t")[: len(columns)] for line in lines if line]
    assert [list(row.values()) for row in table.rows] == expected
    assert all(row["text"].strip() for row in table.rows)


def packaged(package: str, path: str) -> Path:
    """Return a file that an installed package carries."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / path


@pytest.mark.parametrize(
    ("package", "path", "options", "num_rows", "num_columns"),
    [
        ("sklearn", "datasets/data/digits.csv.gz", {"header": "none"}, 1797, 65),
        ("sklearn", "datasets/data/linnerud_exercise.csv", {"delimiter": "space"}, 20, 3),
        ("sklearn", "datasets/data/linnerud_physiological.csv", {"delimiter": "space"}, 20, 3),
        ("sklearn", "datasets/data/diabetes_target.csv.gz", {"header": "none"}, 442, 1),
        ("sklearn", "datasets/data/iris.csv", {}, 150, 5),
        ("matplotlib", "mpl-data/sample_data/msft.csv", {}, 65, 7),
        ("matplotlib", "mpl-data/sample_data/Stocks.csv", {}, 524, 11),
    ],
)
def test_files_of_packages_are_read(
    package: str, path: str, options: dict[str, Any], num_rows: int, num_columns: int
) -> None:
    table = read_table(packaged(package, path), "data.train", Form(**options))
    assert (len(table.rows), len(table.columns)) == (num_rows, num_columns)
