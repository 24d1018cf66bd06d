"""finesweep try and finesweep drop, on the study of an earlier version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.test_kept import KEPT


@pytest.fixture
def kept(here: Path, one_thread: None) -> Path:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    return here


def test_a_pick_is_queued_and_trained_with_the_budget_that_it_names(kept: Path) -> None:
    printed = run_here("try", "study=small", "data.batch_size=32", "optimizer.lr=3e-2")
    assert printed == (
        "queued as trial 2 of study small: optimizer.lr=0.03, data.batch_size=32\n"
        "The budget of 2 trials is used; train it with\n"
        "  finesweep sweep study=small search.num_trials=3\n"
    )
    line = "trial 2 is queued beyond the budget; search.num_trials=3 is enough."
    assert line in run_here("status", "study=small").splitlines()
    assert json.loads(run_here("status", "study=small", "--json"))["beyond_budget"] == [2]
    run_here("sweep", "study=small", "search.num_trials=3")
    assert "beyond the budget" not in run_here("status", "study=small")
    last = (kept / "studies/small/trials.csv").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("2,complete,") and ",0.03,32," in last


def test_a_pick_as_json(kept: Path) -> None:
    printed = json.loads(run_here("try", "study=small", "data.batch_size=32", "--json"))
    assert printed == {
        "study": "small",
        "trial": 2,
        "params": {"optimizer.lr": 0.001, "data.batch_size": 32},
        "needs_num_trials": 3,
    }


def test_mistakes_of_a_pick(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_here("try", "study=small", code=2)
    run_here("try", "optimizer.lr=1e-3", code=2)
    run_here("try", "study=small", "data.batch_size=choice(4,8)", code=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "try: must name a setting, got nothing. Add one, e.g. optimizer.lr=3e-4."
    assert lines[1] == "study: must be set, got nothing. Set study=NAME."
    assert lines[2].startswith("data.batch_size: a run has one value per key, got choice(4,8).")


def test_a_trial_is_dropped_and_taken_back(kept: Path) -> None:
    best = json.loads(run_here("status", "study=small", "--json"))["best"]["number"]
    printed = run_here("drop", "study=small", f"trial={best}")
    assert printed == f"trial {best} of study small is dropped; the best is trial {1 - best}\n"
    assert "dropped (" in run_here("status", "study=small")
    printed = json.loads(run_here("drop", "study=small", f"trial={best}", "undo=true", "--json"))
    assert printed == {"study": "small", "trial": best, "dropped": False, "best": best}
    assert "dropped (" not in run_here("status", "study=small")
