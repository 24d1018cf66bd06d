"""What cannot be written is named before the work begins: ../shared/cases/unwritable-cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "unwritable-cache"
pytestmark = needs(CASE)
WORDS = ("logger=none", "model=tiny", "data=files", "data.train=base.csv", "trainer.max_steps=1")


@pytest.mark.parametrize("command", [("train", "run=x"), ("sweep", "study=x")])
def test_a_cache_is_refused_at_once(
    command: tuple[str, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(CASE / "base.csv", here)
    monkeypatch.setenv("FINESWEEP_CACHE", "/proc/x")
    assert main([*command, *WORDS]) == 2
    assert capsys.readouterr().err == (
        "FINESWEEP_CACHE: must be a folder that can be written, got /proc/x (No such file or "
        "directory). Set FINESWEEP_CACHE=DIR to a folder that can be written.\n"
    )
    assert [path.name for path in here.iterdir()] == ["base.csv"]


def test_a_working_folder_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/proc")
    assert main(["train", "run=x", "logger=none", "model=tiny"]) == 2
    assert capsys.readouterr().err == (
        "run: must be a folder that can be written, got /proc/runs/x (No such file or directory). "
        "Change to a folder that can be written, e.g. cd ~.\n"
    )
