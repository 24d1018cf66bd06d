"""Studies whose processes are killed, and shared ones: nothing lost, nothing twice."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from pathlib import Path

import psutil

from tests.conftest import command, run_here


def start(here: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("sweep", "study=k", "logger=none", "experiment=smoke", *words),
        cwd=here,
        # The same bits need the same number, also of a study that trains in its own process.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_progress(here: Path, number: int, timeout: float = 120) -> None:
    """Return once trial `number` has been validated and still trains."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = here / "studies" / "k" / "study.db"
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if database.is_file():
            try:
                study = optuna.load_study(study_name="k", storage=f"sqlite:///{database}")
            except KeyError:
                continue
            trials = study.get_trials(deepcopy=False)
            if len(trials) > number and trials[number].intermediate_values:
                return
        time.sleep(0.1)
    raise AssertionError(f"trial {number} did not get under way")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "search.worker" in " ".join(child.cmdline())
    ]


LONG = ("trainer.epochs=10", "search/pruner=none", "search.num_trials=3", "search/space=none")
HERE = "search.workers=0"  # no worker to start
VARIED = ("optimizer.lr=tag(log,interval(1e-3,1e-2))",)


def test_killed_outright_it_heals_and_goes_on(here: Path) -> None:
    process = start(here, *LONG, *VARIED)
    wait_for_progress(here, 0)
    for worker in workers_of(process):
        worker.kill()
    process.kill()
    process.communicate()
    output, _ = (again := start(here, *LONG, *VARIED, HERE)).communicate(timeout=180)
    assert again.returncode == 0, output
    status = json.loads(run_here("status", "study=k", "--json"))
    assert status["states"]["complete"] == 3 and status["remaining"] == 0


def test_two_workers_share_the_budget_exactly(here: Path) -> None:
    words = ("search.workers=2", "search.num_trials=5", "trainer.epochs=1")
    output, _ = (process := start(here, *words)).communicate(timeout=240)
    assert process.returncode == 0, output
    with (here / "studies/k/trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == list("01234")
    assert all(row["attempts"] == "1" for row in rows)
    assert len({(row["optimizer.lr"], row["data.batch_size"]) for row in rows}) == 5
