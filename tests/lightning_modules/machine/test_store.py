from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.machine.store import HUB, TOKENIZED, cache_folder, check_cache
from tests.shared import ROOT


def test_the_cache_is_where_the_first_variable_says(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "xdg"))
    monkeypatch.setenv("FINESWEEP_CACHE", "~/mine")
    assert cache_folder() == here / "mine"
    monkeypatch.delenv("FINESWEEP_CACHE")
    assert cache_folder() == here / "xdg/finesweep"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == here / ".cache/finesweep"


def test_a_part_of_the_cache_that_cannot_be_written_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here))
    (here / HUB).write_text("a file")
    check_cache(TOKENIZED)
    with pytest.raises(ConfigError, match=rf"FINESWEEP_CACHE: .*{here}/{HUB} \(Not a directory\)"):
        check_cache(HUB)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_a_home_folder_must_name_the_cache() -> None:
    code = """
import os
from lightning_modules.error import UserError
from lightning_modules.machine.store import cache_folder
os.setuid(54321)
try:
    cache_folder()
except UserError as error:
    print(error)
"""
    names = ("HOME", "FINESWEEP_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=True,
    ).stdout
    assert printed == (
        "FINESWEEP_CACHE: must be set if the user has no home folder, got nothing. "
        "Set FINESWEEP_CACHE=DIR to a folder that can be written.\n"
    )
