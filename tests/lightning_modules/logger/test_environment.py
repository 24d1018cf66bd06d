from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.wandb_record import wandb_records

from lightning_modules.logger.environment import CACHE, environment_of
from tests.shared import ROOT

OF_ONE = {
    "WANDB_RESUME": "must",
    "WANDB_SWEEP_ID": "s1",
    "WANDB_NAME": "theirs",
    "WANDB_TAGS": "theirs",
    "WANDB_RUN_ID": "abc",
}


def test_variables_come_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_NAME", "theirs")
    monkeypatch.setenv("HOME", "/proc/x")
    for name in (CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with environment_of(here, is_one_of_many=True):
        assert "WANDB_NAME" not in os.environ
        assert os.environ[CACHE] == str(here / "wandb/cache")
    with environment_of(here, is_one_of_many=False):
        assert os.environ["WANDB_NAME"] == "theirs"  # a single run is the caller's to name
    assert dict(os.environ) == before
    monkeypatch.setenv("HOME", str(here))
    with environment_of(here, is_one_of_many=True):
        assert CACHE not in os.environ


@pytest.mark.thorough
def test_a_trial_is_no_part_of_a_run_of_the_environment(here: Path) -> None:
    code = """
from pathlib import Path
from lightning_modules.logger.base import Identity
from lightning_modules.logger.wandb import Mode, Wandb
logger = Wandb(project="tests", entity=None, mode=Mode.offline, upload_model=False)
logger.open(Identity("mine trial 0", "mine", Path("out")), {"seed": 0}, print).finish({})
print(*logger.study_notes())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **OF_ONE, "HOME": "/proc/x", "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == (
        "WANDB_RUN_ID, WANDB_RESUME, WANDB_NAME, WANDB_TAGS, WANDB_SWEEP_ID describe a single "
        "W&B run, and so are not used for this study\n"
    )
    (folder,) = (here / "out/wandb").glob("offline-run-*")
    (run,) = (each["run"] for each in wandb_records(folder) if each["type"] == "run")
    assert (run["display_name"], run["run_group"]) == ("mine trial 0", "mine")
    assert run["project"] == "tests" and run["run_id"] != "abc"
    assert not run.keys() & {"tags", "sweep_id"}
