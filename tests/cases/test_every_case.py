"""Each folder of shared cases has a test."""

from __future__ import annotations

from pathlib import Path

from tests.shared import SHARED, needs

CASES = SHARED / "cases"
pytestmark = needs(CASES)


def test_each_folder_has_a_test() -> None:
    tested = {each.stem for each in Path(__file__).parent.glob("test_*.py")}
    names = {each.parent.name for each in CASES.glob("*/expect.txt")}
    assert names and {f"test_{name.replace('-', '_')}" for name in names} <= tested
