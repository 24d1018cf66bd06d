from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import search.engine.local
from search.config import compose
from search.engine.local import LocalEngine
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study


def test_a_hanging_forkserver_is_given_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none"]))
    folder = study_folder(here, plan.name)
    engine = LocalEngine(prepare_study(plan, folder, check_study(plan, folder)), 1, print)
    (folder / "logs").mkdir(exist_ok=True)
    hangs = (sys.executable, "-c", "import time; time.sleep(1000)")
    monkeypatch.setattr(search.engine.local, "_WORKER", hangs)
    monkeypatch.setattr(search.engine.local, "START_SECONDS", 1.0)
    engine._forks = True
    lifeline, held = os.pipe()
    assert engine._forked(lifeline, held, held) is None
    assert engine._forkserver is None  # it was ended
    os.close(lifeline)
    os.close(held)
