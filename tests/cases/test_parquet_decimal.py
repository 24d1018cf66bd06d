from __future__ import annotations

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "parquet-decimal"
pytestmark = needs(CASE)


def test_decimal_labels_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    file = CASE / "decimal.parquet"
    assert main(["plan", "study=x", "model=tiny", "data=files", f"data.train={file}"]) == 0
    printed = capsys.readouterr().out
    assert "2 labels" in printed and "always '0'" in printed
