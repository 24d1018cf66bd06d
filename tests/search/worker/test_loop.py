"""The loop of a worker, with real trainings of two steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sqlalchemy.event import listen

from lightning_modules.error import DataError
from lightning_modules.fit.pack import pack
from lightning_modules.outcome import Ending
from lightning_modules.task.classification import Classification
from search.report.dashboard.note import read_note
from search.storage.failure import FailureKind
from search.storage.lease import LeaseLost
from search.study.heal import end_worker
from search.study.open import load_study
from search.study.session import join
from search.worker.event import Alive, Began, Ended, Event, Note, Prepared, Progressed
from search.worker.loop import Replace, work
from tests.search.worker.conftest import Prepare


def never() -> bool:
    return False


MAPPED = """
import torch
from search.worker import loop

num_bytes = 64 * 2**20
loop.LEAK_BYTES, loop.LEAK_FACTOR = num_bytes // 2, 1.0
torch.zeros(1, dtype=torch.uint8).sum()  # what torch loads at its first call is no leak
memory = loop._Memory()
memory.check()
features = torch.from_file("features", size=num_bytes, dtype=torch.uint8)
assert features.sum() == 0  # every page has been read
memory.check()
leak = bytes(range(256)) * (num_bytes // 256)
try:
    memory.check()
except loop.Replace as error:
    print(error)
"""


@pytest.mark.thorough
def test_files_that_are_mapped_into_memory_are_no_leak(here: Path) -> None:
    """In a process of its own: what another test frees or takes would count."""
    (here / "features").write_bytes(bytes(64 * 2**20))
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    words = [sys.executable, "-c", MAPPED]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the worker's memory grew" in done.stdout


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events if not isinstance(event, Alive)]


def last(events: list[Event]) -> Event:
    return [event for event in events if not isinstance(event, Alive)][-1]


def test_a_worker_trains_until_the_budget_is_used_up(prepared: Prepare) -> None:
    study = prepared("search.num_trials=2")
    session, events = join(study), list[Event]()
    work(session, never, events.append)
    assert kinds(events) == [Began, Prepared, Progressed, Ended] * 2
    ended = [event for event in events if isinstance(event, Ended)]
    assert [event.ending for event in ended] == [Ending.finished] * 2
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert [event.value for event in ended] == [trial.value for trial in study.trials]
    assert study.is_over


def test_a_trial_writes_to_the_database_seldom(prepared: Prepare) -> None:
    """Each time waits for the disk, and a short trial does little else."""
    study = prepared("search.num_trials=3")
    session, writes, events = join(study), list[str](), list[Event]()
    changes: list[str] = []

    def execute(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SELECT", "BEGIN", "PRAGMA")):
            changes.append(statement)

    def commit(connection: object) -> None:
        if changes:
            writes.append(changes[0])
        changes.clear()

    def emit(event: Event) -> None:
        if isinstance(event, Ended) and event.number < 2:
            writes.clear()  # the first trials begin with what is queued
        events.append(event)

    listen(study.tables.engine, "before_cursor_execute", execute)
    listen(study.tables.engine, "commit", commit)
    work(session, never, emit)
    assert sum(isinstance(event, Progressed) for event in events) == 3  # one a trial
    # Its claim, its values, its start, its validation, and its end with all that is shown of it.
    assert len(writes) == 5, writes
    note = read_note(study.optuna, study.trial(2)._trial_id)
    assert "Finished" in note and "learning curve" in note


def test_an_interrupted_attempt_is_handed_back(prepared: Prepare) -> None:
    study = prepared("search.num_trials=1")
    events: list[Event] = []
    work(join(study), lambda: any(isinstance(e, Prepared) for e in events), events.append)
    assert kinds(events) == [Began, Prepared, Ended]
    assert isinstance(last(events), Ended) and last(events).ending is Ending.interrupted
    trial = study.trial(0)
    assert trial.state.name == "WAITING"
    (attempt,) = trial.user_attrs["attempts"]
    assert attempt["fault"] == FailureKind.interrupted.value


def test_an_error_counts_as_a_failed_attempt_and_the_process_is_replaced(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object, **named: object) -> None:
        raise RuntimeError("no such luck\nand more")

    monkeypatch.setattr(pack, "fit", breaks)
    study = prepared("search.num_trials=1", "search.max_attempts=2")
    session, events = join(study), list[Event]()
    with pytest.raises(Replace, match="an error in trial 0"):
        work(session, never, events.append)
    reason = "RuntimeError: no such luck"
    assert last(events) == Note(f"trial 0 attempt 1 ended: {reason}; it will be retried")
    with pytest.raises(Replace):
        work(session, never, events.append)
    verdict = f"2 attempts made no progress; the last: {reason}"
    assert last(events) == Ended(0, Ending.failed, verdict, None, 0.0)
    assert study.trial(0).state.name == "FAIL"
    _, num_busy = load_study(study.folder).seconds_left or (0.0, 0)
    assert num_busy == 0


def test_changed_rows_do_not_count_against_the_trial(prepared: Prepare) -> None:
    study = prepared("search.num_trials=1")
    with Path(study.plan.default.flat()["data.train"]).open("a", encoding="utf-8") as file:
        file.write('{"text": "One more was great.", "label": "positive"}\n')
    with pytest.raises(DataError):
        work(join(study), never, list[Event]().append)
    trial = study.trial(0)
    assert trial.state.name == "WAITING"
    assert [each["fault"] for each in trial.user_attrs["attempts"]] == ["interrupted"]


def test_a_worker_whose_lease_was_ended_stops_training(prepared: Prepare) -> None:
    study = prepared("search.num_trials=1")
    session, other = join(study), load_study(study.folder)

    def emit(event: Event) -> None:
        if isinstance(event, Prepared):
            end_worker(other, session.name, FailureKind.lost, "it gave no sign of life")

    with pytest.raises(LeaseLost):
        work(session, never, emit)
    trial = other.trial(0)
    assert trial.state.name == "WAITING" and not trial.intermediate_values


def test_a_trial_that_does_not_fit_beside_another_is_tried_alone_before_it_is_infeasible(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Classification, "forward", refuse)
    study = prepared("search.num_trials=2", "trainer.device=cpu")
    neighbour = join(load_study(study.folder))
    beside = neighbour.next_attempt()
    assert beside is not None
    session, events = join(study), list[Event]()
    with pytest.raises(Replace, match="trial 1 ran out of memory"):
        work(session, never, events.append)
    assert isinstance(last(events), Note)
    assert last(events).text.startswith("trial 1 attempt 1 ended: one example of ")
    assert last(events).text.endswith("memory, beside other trials; it will be retried")
    neighbour.hand_back(beside, FailureKind.interrupted, "asked to stop", 1.0)
    with pytest.raises(Replace, match="trial 1 ran out of memory"):
        work(session, never, events.append)
    assert isinstance(last(events), Ended) and last(events).ending is Ending.infeasible
    assert [trial.state.name for trial in study.trials] == ["WAITING", "PRUNED"]
