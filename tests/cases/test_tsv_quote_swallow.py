from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lightning_modules.data.read import read_table
from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "tsv-quote-swallow"
pytestmark = needs(CASE)


def test_all_rows_are_read_with_their_quotes() -> None:
    lines = (CASE / "reviews.tsv").read_text(encoding="utf-8").splitlines()
    rows = read_table(CASE / "reviews.tsv", "data.train").rows
    assert ["\t".join(row.values()) for row in rows] == lines[1:] and len(rows) == 60


def test_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CASE / "reviews.tsv", Path())
    assert main(["plan", "study=x", "model=tiny", "data=files", "data.train=reviews.tsv"]) == 0
    printed = capsys.readouterr().out
    assert "files: 44 / 8 / 8 rows" in printed
    assert "tabs, no quoting" in printed and "40 rows with quotes, 60 without" in printed
