"""An unknown option of the storage is refused at once: ../shared/cases/storage-option."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

pytestmark = needs(SHARED / "cases" / "storage-option")


def test_the_option_is_named_without_the_password(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_STORAGE", "")
    url = "postgresql://u:p@127.0.0.1:1/db?schema=public"
    assert main(["status", f"storage={url}"]) == 2
    assert capsys.readouterr().err == (
        "storage: an option must be known to PostgreSQL's driver, got 'schema'. Remove it.\n"
    )
