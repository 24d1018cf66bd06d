"""Workers are killed at random while they train: no result is lost, and the budget is exact."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.conftest import Start, Sweep, ask, command, ends_of, kill_at_random, status

SEED = 20261121
SLOW = pytest.mark.slow
# A sweep costs some 20 s of imports. The fast tests of leases and races and those of
# benchmarks/reliability.py cover both storages without training.
on_sqlite_first = pytest.mark.parametrize(
    "storage", ["sqlite", pytest.param("postgresql", marks=SLOW)], indirect=True
)


def assert_whole(sweep: Sweep, storage: str | None, num_trials: int) -> int:
    """Assert that the study is complete; return its number of broken attempts."""
    state = status(storage)
    assert state["states"]["running"] == state["states"]["waiting"] == 0
    assert state["states"]["complete"] == num_trials == state["num_trials"]
    trials = sweep.trials
    assert [trial.number for trial in trials] == list(range(num_trials))
    assert len({str(trial.params or trial.user_attrs["values"]) for trial in trials}) == num_trials
    broken = 0
    for trial in trials:
        ends = ends_of(trial)
        broken += len(ends)
        # Each broken attempt is followed by exactly one other of the same trial.
        assert trial.user_attrs["attempt"] == len(ends) + 1
        assert [end["attempt"] for end in ends] == list(range(1, len(ends) + 1))
        steps = [end["step"] for end in ends]
        assert steps == sorted(steps), "an attempt started before the step of the previous one"
        assert all("killed by signal 9" in end["reason"] for end in ends)
    return broken


def storm(
    start: Start, storage: str | None, num_trials: int, num_kills: int, num_workers: int
) -> tuple[Sweep, str, int]:
    chance = random.Random(SEED)
    budget = (f"search.num_trials={num_trials}", f"search.workers={num_workers}")
    sweep = start(*budget, storage=storage)
    sweep.until(sweep.under_way)
    killed = 0
    while killed < num_kills and sweep.process.poll() is None:
        # Half of them during a trial, half at any time.
        if killed % 2 == 0:
            sweep.until(lambda: sweep.under_way() or sweep.process.poll() is not None)
        killed += kill_at_random(sweep, 1, chance, pause=0.3)
    output = sweep.end(seconds=3000)
    assert sweep.process.returncode == 0, output
    return sweep, output, killed


@on_sqlite_first
def test_killed_workers_lose_nothing(sweep: Start, storage: str | None) -> None:
    whole, output, killed = storm(sweep, storage, num_trials=4, num_kills=3, num_workers=2)
    broken = assert_whole(whole, storage, 4)
    assert killed >= 2 and 1 <= broken <= killed
    assert "resumes from its checkpoint" in output or "starts again" in output


@pytest.mark.slow
def test_fifty_kills_in_two_hundred_trials_lose_nothing(sweep: Start, storage: str | None) -> None:
    whole, _, killed = storm(sweep, storage, num_trials=200, num_kills=50, num_workers=4)
    broken = assert_whole(whole, storage, 200)
    assert killed == 50 and 10 <= broken <= 50


@SLOW
def test_after_all_workers_are_killed_status_requeues_their_trial(
    sweep: Start, storage: str | None
) -> None:
    whole = sweep("search.num_trials=2", "trainer.epochs=6", storage=storage)
    (trial,) = whole.until(lambda: whole.under_way(step=5))
    workers = whole.workers
    whole.process.kill()  # first, or it would replace the worker
    for worker in workers:
        worker.kill()
    whole.process.wait()
    state = status(storage)
    assert state["states"]["waiting"] == 1 and state["states"]["running"] == 0
    (end,) = ends_of(whole.trials[trial.number])
    assert end["fault"] == "lost" and end["reason"] == "its process is gone" and end["step"] >= 5
    again = sweep("search.num_trials=2", "trainer.epochs=6", storage=storage)
    output = again.end()
    assert again.process.returncode == 0, output
    assert "trial 0 resumes from its checkpoint at step" in output
    assert again.trials[0].user_attrs["attempt"] == 2
    assert status(storage)["states"]["complete"] == 2
    curve = again.trials[0].intermediate_values
    assert len(curve) == 12  # every validation once


@SLOW
def test_a_worker_suspended_past_its_lease_is_refused_and_rejoins(
    sweep: Start, storage: str | None
) -> None:
    words = ("search.num_trials=2", "trainer.epochs=8", "search.workers=2")
    whole = sweep(*words, storage=storage)
    first = whole.until(lambda: whole.under_way(step=3))[0]
    pid = int(first.user_attrs["worker"].split("-")[-2])
    os.kill(pid, signal.SIGSTOP)
    # The other worker takes over the trial when the lease of 3 s has expired.
    trial = whole.until(
        lambda: [
            t
            for t in whole.trials
            if t.number == first.number and t.user_attrs["attempt"] == 2 and t.state.is_finished()
        ],
        seconds=200,
    )[0]
    successor = whole.folder / "studies" / "s" / trial.user_attrs["folder"]
    files = {path.name: path.read_bytes() for path in successor.iterdir() if path.is_file()}
    os.kill(pid, signal.SIGCONT)
    output = whole.end()
    assert whole.process.returncode == 0, output
    assert "lost its lease" in output and "rejoining" in output
    (end,) = ends_of(trial)
    assert end["fault"] == "lost" and "no heartbeat" in end["reason"]
    kept = whole.trials[first.number]
    assert kept.values == trial.values and kept.user_attrs == trial.user_attrs
    for name, content in files.items():
        assert (successor / name).read_bytes() == content, name
    assert status(storage)["states"]["complete"] == 2


@pytest.mark.slow
def test_workers_can_join_from_another_folder(
    sweep: Start, storage: str | None, here: Path
) -> None:
    whole = sweep("search.num_trials=4", "trainer.epochs=6", storage=storage)
    whole.until(whole.under_way)
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    where = [f"storage={storage or f'{here}/studies/s/study.db'}"]
    joined = subprocess.Popen(
        command("worker", "study=s", *where),
        cwd=elsewhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = joined.communicate(timeout=300)
    assert joined.returncode == 0, output
    assert "joining study s" in output and "accuracy" in output
    sweep_output = whole.end()
    assert whole.process.returncode == 0, sweep_output
    assert_whole(whole, storage, 4)
    hosts = {trial.user_attrs["worker"] for trial in whole.trials}
    assert len(hosts) == 2
    assert "nothing is left to do" in ask("worker", "study=s", *where)


def test_an_immediate_restart_of_the_server_breaks_no_attempt(sweep: Start, postgres) -> None:  # type: ignore[no-untyped-def]
    storage = postgres.new_database()
    whole = sweep("search.num_trials=2", "trainer.epochs=14", storage=storage)
    for _ in range(5):
        whole.until(whole.under_way)
        assert whole.process.poll() is None
        postgres.restart("immediate")
    output = whole.end()
    assert whole.process.returncode == 0, output
    assert assert_whole(whole, storage, 2) == 0  # not even an attempt was broken
    assert "planted-secret" not in output
    for path in whole.folder.rglob("*"):
        if path.is_file():
            assert b"planted-secret" not in path.read_bytes(), path
