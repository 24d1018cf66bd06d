from __future__ import annotations

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "hub-splits-ignored"
pytestmark = needs(CASE)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", "study=x", "model=tiny", "data=hub", *words]) == 0
    return capsys.readouterr().out


def test_own_splits_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    printed = planned(capsys, f"data.path={CASE}/news")
    assert "/ 30 rows" in printed and "its own split test is the test split" in printed


def test_own_splits_of_a_saved_data_set_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    printed = planned(capsys, f"data.path={CASE}/folder", "data.text=sentence")
    assert "its own split validation is the validation split" in printed


def test_a_saved_data_set_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert "rows (train / validation / test)" in planned(capsys, f"data.path={CASE}/plain")
