"""A stopped sweep saves checkpoints and leaves no process; the same command continues it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from lightning_modules.callback.checkpoint_file import read_checkpoint
from tests.conftest import run_here, wait_until
from tests.faults.conftest import SMALL, Start, Sweep

# Checkpoints are saved only on a signal. Seeing a validation and sending the signal can take
# seconds, in which a fast machine does 200 steps; there are 760.
LONG = ("trainer.epochs=20", "trainer.checkpoint_seconds=1000", "search.num_trials=1")


def validated(sweep: Sweep, number: int = 0) -> Callable[[], optuna.trial.FrozenTrial | None]:
    """Return a function that returns the trial once its current attempt has been validated."""
    before = len(sweep.trials[number].intermediate_values) if sweep.trials else 0

    def look() -> optuna.trial.FrozenTrial | None:
        found = sweep.trials[number : number + 1]
        under_way = [t for t in found if len(t.intermediate_values) > before]
        return next((t for t in under_way if t.state.name == "RUNNING"), None)

    return look


def step_of_interruption(sweep: Sweep, before: optuna.trial.FrozenTrial) -> int:
    """Assert that the trial waits, with a checkpoint of its last step; return that step."""
    trial = sweep.trials[before.number]
    assert trial.state.name == "WAITING"
    last = trial.user_attrs["attempts"][-1]
    step: int = trial.user_attrs["checkpoint"]["step"]
    assert (last["fault"], last["step"]) == ("interrupted", step)
    assert last["reason"] == f"interrupted after step {step}"
    # 600 rows in batches of 16 make 38 steps, with validations after 19 and 38.
    assert step >= 19 * len(before.intermediate_values) > 0
    assert trial.intermediate_values.items() >= before.intermediate_values.items()
    folder = sweep.folder / "studies" / sweep.name / trial.user_attrs["folder"]
    assert read_checkpoint(folder / "checkpoint.pt").record.step == step
    return step


@contextmanager
def nothing_left(sweep: Sweep) -> Iterator[list[psutil.Process]]:
    """Yield all processes of the sweep; assert that none of them and no later one is left."""
    family = psutil.Process(sweep.process.pid).children(recursive=True)
    yield family
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert not sweep.workers


def stop(sweep: Sweep, number: int, code: int) -> str:
    """Send the signal and return the sweep's output; fail if it does not end in time.

    Saving checkpoints takes seconds. For a worker that does not stop, the sweep would wait until it
    counts as hung, which is half an hour.
    """
    output = sweep.end(number, seconds=120)
    assert sweep.process.returncode == code, output
    return output


def names_of(processes: list[psutil.Process]) -> str:
    names = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names.append(" ".join(process.cmdline()))
    return "\n".join(names)


def losses(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "studies/s/trials.csv").open(newline="") as file:
        return [
            (row["optimizer.lr"], row["validation/log_loss"], row["best_epoch"])
            for row in csv.DictReader(file)
        ]


def test_a_study_stopped_in_every_way_ends_like_an_uninterrupted_one(
    sweep: Start, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ctrl-C: all its processes are gone, including W&B's and the data worker.
    first = sweep(*LONG, "logger=wandb", "trainer.num_data_workers=1")
    before = first.until(validated(first))
    with nothing_left(first) as family:
        assert "wandb-core" in names_of(family)
        assert len(first.workers) == 2  # the data worker is a fork of the worker
        output = stop(first, signal.SIGINT, 130)
    assert "saving checkpoints" in output and "run the same command to continue" in output
    kept = step_of_interruption(first, before)

    # A second Ctrl-C does not wait for a worker that cannot stop.
    second = sweep(*LONG)
    (worker,) = second.until(lambda: second.workers)
    worker.suspend()
    with nothing_left(second):
        second.process.send_signal(signal.SIGINT)
        second.until(lambda: "saving checkpoints" in second.printed())
        assert second.process.poll() is None
        stop(second, signal.SIGINT, 130)
    assert second.trials[0].user_attrs["checkpoint"]["step"] == kept

    # Workers stop in order when their engine is killed.
    third = sweep(*LONG)
    before = third.until(validated(third))
    with nothing_left(third):
        third.process.kill()
    assert f"resumes from its checkpoint at step {kept}" in third.end()
    newest = step_of_interruption(third, before)
    assert newest > kept

    # If a crash has truncated the newest checkpoint, the previous one is used.
    path = here / "studies/s" / third.trials[0].user_attrs["folder"] / "checkpoint.pt"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    last = sweep(*LONG)
    output = last.end()
    assert last.process.returncode == 0, output
    broken = "checkpoint.pt is broken (its content does not match its sha256)"
    assert f"{broken}; resuming from checkpoint.previous.pt, step {kept}" in output
    assert [(trial.number, trial.state.name) for trial in last.trials] == [(0, "COMPLETE")]

    whole = here / "whole"
    whole.mkdir()
    monkeypatch.chdir(whole)
    run_here("sweep", "study=s", *SMALL, *LONG, "search.workers=0")
    assert losses(whole) == losses(here)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.thorough),
        pytest.param(signal.SIGUSR2, 143, marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.thorough),
    ],
)
def test_a_sweep_without_workers_stops_on_every_signal(here: Path, number: int, code: int) -> None:
    words = ("sweep", "study=s", *SMALL, *LONG, "search.workers=0")
    here_url = f"sqlite:///{here}/studies/s/study.db"
    it = Sweep(subprocess.Popen(["true"], text=True), here, "s", here_url)
    found: list[Any] = []

    def send() -> None:
        try:
            found.append(wait_until(validated(it), "a validation", 120))
        finally:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    run_here(*words, code=code)
    thread.join()
    step_of_interruption(it, found[0])


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_every_process_of_a_step_saves_a_checkpoint(sweep: Start, number: int) -> None:
    """As Slurm sends it: the worker gets it, and then another from its engine."""
    it = sweep(*LONG, "logger=wandb", "trainer.num_data_workers=1")
    before = it.until(validated(it))
    with nothing_left(it) as family:
        for process in family:
            process.send_signal(number)
        stop(it, number, 143)
    step_of_interruption(it, before)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("data_workers", [0, 2])
def test_workers_stop_on_every_signal(sweep: Start, number: int, data_workers: int) -> None:
    words = (f"trainer.num_data_workers={data_workers}", "search.workers=2", "logger=wandb")
    it = sweep(*LONG, "search.num_trials=2", *words)
    it.until(lambda: len(it.trials) == 2)
    running = [it.until(validated(it, trial)) for trial in (0, 1)]
    with nothing_left(it):
        stop(it, number, 143)
    for before in running:
        step_of_interruption(it, before)
