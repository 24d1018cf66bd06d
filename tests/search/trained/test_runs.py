"""Find runs by name, and report unusable ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from search.trained.runs import find_run


def asked(name: str) -> str:
    with pytest.raises(ConfigError) as raised:
        find_run(name)
    return str(raised.value)


def test_an_unusable_run_is_reported(here: Path) -> None:
    none = (
        "run: must be a run in runs/, got 'on'. There is none yet; start one with finesweep train."
    )
    assert asked("on") == none
    (here / "runs/one").mkdir(parents=True)
    (here / "runs/one/metrics.json").write_text("{}")
    assert asked("on") == "run: must be a run in runs/, got 'on'. Did you mean one?"
    (here / "runs/on").mkdir()
    going_on = (
        "run: must be a run that has ended, got 'on'. Continue it with the command that started it."
    )
    assert asked("on") == going_on
