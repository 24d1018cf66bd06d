from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "encoding-advice"
pytestmark = needs(CASE)


@pytest.mark.parametrize(
    ("name", "encoding", "sample"),
    [
        ("utf16", "UTF-16", "text,label"),
        ("cp1252", "Windows-1252", "it’s €5"),
        ("gbk", "GBK", "书"),
    ],
)
def test_encodings_are_recognized(
    name: str, encoding: str, sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CASE / f"{name}.csv", Path())
    assert main(["plan", "study=x", "model=tiny", "data=files", f"data.train={name}.csv"]) == 0
    printed = capsys.readouterr().out
    assert f"read as {encoding}" in printed and sample in printed and "iconv" not in printed
