"""Trials of a study that a worker trains together."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import UserError
from lightning_modules.folder import CHECKPOINT_FILE, OUTCOME_FILE
from lightning_modules.outcome import Ending
from search.storage.attribute import PACKED
from search.storage.failure import FailureKind
from search.study.heal import end_worker
from search.study.open import load_study
from search.study.session import join
from search.study.study import Study
from search.worker import loop
from search.worker.event import Began, Ended, Event, Note, Prepared, Progressed
from search.worker.loop import Replace, work
from tests.search.worker.conftest import Prepare

QUEUED = (
    *("strategy=lora", "trainer.max_steps=4", "search.portfolio=false", "search.num_trials=4"),
    "search.enqueue=[{optimizer.lr: 9e-3},{optimizer.lr: 3e-3},{optimizer.lr: 2e-4}]",
)
"""The default and three others, all known before the first one trains."""


def never() -> bool:
    return False


def of_kind(events: list[Event], kind: type) -> list[int]:
    return [event.number for event in events if isinstance(event, kind)]  # type: ignore[union-attr]


def trained(study: Study, stop: object = never) -> list[Event]:
    events: list[Event] = []
    work(join(study), stop, events.append)  # type: ignore[arg-type]
    return events


@pytest.mark.thorough
def test_a_pack_ends_with_the_results_of_one_by_one(
    prepared: Prepare,
) -> None:
    study = prepared(*QUEUED, "search.pack=3")
    events = trained(study)
    assert of_kind(events, Began) == [0, 1, 2, 3]
    # Three began before the first one ended, and each has events of its own.
    assert [type(e) for e in events if isinstance(e, Began | Ended)][:4] == [Began] * 3 + [Ended]
    for kind in (Prepared, Progressed, Ended):
        assert sorted(of_kind(events, kind)) == [0, 1, 2, 3]
    assert not any(isinstance(event, Note) for event in events)
    assert all(trial.user_attrs[PACKED] for trial in study.trials)  # one in the slot of another
    for trial in study.trials:
        assert (study.folder_of(trial) / OUTCOME_FILE).is_file()
    other = prepared(*QUEUED, "study=alone")
    trained(other)
    for one, alone in zip(study.trials, other.trials, strict=True):
        assert one.params == alone.params
        assert one.value == pytest.approx(alone.value, abs=1e-6)
        assert one.intermediate_values.keys() == alone.intermediate_values.keys()


def test_only_trials_that_depend_on_no_result_train_together(prepared: Prepare) -> None:
    study = prepared(*QUEUED, "search.num_trials=6")
    session = join(study)
    assert [each.number for each in session.next_pack(9)] == [0, 1, 2, 3]
    assert [each.number for each in session.next_pack(9)] == [4]
    assert [bool(trial.user_attrs.get(PACKED)) for trial in study.trials] == [True] * 4 + [False]


def test_other_strategies_and_other_workers_keep_their_trials(prepared: Prepare) -> None:
    full = join(prepared(*QUEUED, "strategy=full", "study=full"))
    assert [each.number for each in full.next_pack(9)] == [0]
    shared = join(prepared(*QUEUED, "search.workers=2", "study=shared"))
    assert [each.number for each in shared.next_pack(9)] == [0, 1]


def test_with_a_cost_as_an_objective_each_trial_trains_alone(prepared: Prepare) -> None:
    session = join(prepared(*QUEUED, "search.objectives=[accuracy,seconds]"))
    assert [each.number for each in session.next_pack(9)] == [0]


def test_a_changed_file_ends_the_worker_and_fails_no_trial(
    prepared: Prepare, learnable: Path
) -> None:
    study = prepared(*QUEUED, "search.pack=4")
    learnable.write_text(learnable.read_text().replace("hotel", "hostel"))
    with pytest.raises(UserError):
        trained(study)
    assert [trial.state.name for trial in study.trials] == ["WAITING"] * 4


@pytest.mark.thorough
def test_an_interrupted_pack_continues_from_its_checkpoints(prepared: Prepare) -> None:
    study = prepared(*QUEUED, "search.pack=4")
    events: list[Event] = []
    work(join(study), lambda: len(of_kind(events, Prepared)) == 4, events.append)
    assert sorted(of_kind(events, Ended)) == [0, 1, 2, 3]
    assert [trial.state.name for trial in study.trials] == ["WAITING"] * 4
    assert all((study.folder_of(trial) / CHECKPOINT_FILE).is_file() for trial in study.trials)
    study = load_study(study.folder)
    assert not any("one by one" in e.text for e in trained(study) if isinstance(e, Note))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4


def test_after_a_crash_trials_train_alone_and_it_counts_for_none(prepared: Prepare) -> None:
    study = prepared(*QUEUED, "search.max_attempts=1")
    session = join(study)
    assert len(session.next_pack(4)) == 4
    ends = end_worker(study, session.name, FailureKind.crashed, "the worker crashed")
    assert [end.ending for end in ends] == [None] * 4  # none has failed
    study = load_study(study.folder)
    again = join(study)
    assert [each.number for each in again.next_pack(4)] == [0]
    ends = end_worker(study, again.name, FailureKind.crashed, "the worker crashed")
    assert [(end.number, end.ending) for end in ends] == [(0, Ending.failed)]


@pytest.mark.thorough
def test_an_error_of_one_trial_is_its_own(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepared(*QUEUED, "search.pack=4", "search.max_attempts=1")
    events: list[Event] = []
    on_validation = loop._Hooks.on_validation

    def fails(hooks: loop._Hooks, point: object) -> str | None:
        if hooks._attempt.number == 1:
            raise ValueError("no such luck")
        return on_validation(hooks, point)  # type: ignore[arg-type]

    monkeypatch.setattr(loop._Hooks, "on_validation", fails)
    with pytest.raises(Replace, match="an error in trial 1"):
        work(join(study), never, events.append)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
