"""A worker in the calling process (`search.workers=0`) joins, works and rejoins."""

from __future__ import annotations

import pytest

from lightning_modules.fit.pack import pack
from search.storage.failure import FailureKind
from search.study.heal import end_worker, heal
from search.study.open import load_study
from search.worker.breaker import MAX_FAILURES
from search.worker.event import Ended, Event, Joined, Note, Prepared
from search.worker.worker import work_here
from tests.search.worker.conftest import Prepare

pytestmark = pytest.mark.usefixtures("own_signals")


def test_a_worker_joins_works_and_leaves(prepared: Prepare) -> None:
    study = prepared("search.num_trials=1")
    events: list[Event] = []
    assert work_here(study.folder, events.append) == 0
    assert [type(event) for event in events if isinstance(event, Joined | Ended)] == [Joined, Ended]
    assert study.is_over and heal(study) == []


def test_a_worker_that_lost_its_lease_rejoins_and_finishes(prepared: Prepare) -> None:
    study = prepared("search.num_trials=1")
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        joined = [each for each in events if isinstance(each, Joined)]
        if isinstance(event, Prepared) and len(joined) == 1:
            other = load_study(study.folder)
            end_worker(other, joined[0].worker, FailureKind.lost, "it gave no sign of life")

    assert work_here(study.folder, emit) == 0
    first, second = (event.worker for event in events if isinstance(event, Joined))
    assert first != second
    assert Note(f"worker {first} lost its lease (it gave no sign of life); rejoining") in events
    trial = study.trial(0)
    assert trial.state.name == "COMPLETE" and trial.user_attrs["attempt"] == 2


def test_failures_in_a_row_stop_the_worker(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: object, **named: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(pack, "fit", breaks)
    study = prepared("search.num_trials=9", "search.max_attempts=1")
    events: list[Event] = []
    assert work_here(study.folder, events.append) == 1
    assert sum(isinstance(event, Ended) for event in events) == MAX_FAILURES
    assert not study.is_over
