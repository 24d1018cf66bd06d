"""The lease of a trial that outlives its process, and what ends or renews it."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from faults.postgres import Postgres
from optuna.trial import TrialState

from search.storage import asked
from search.storage.add import add_trials
from search.storage.asked import TOLD, News
from search.storage.attribute import CURVE, SECONDS
from search.storage.curve import StoredPoint
from search.storage.engine import open_storage
from search.storage.lease import Lease, LeaseLost, gone_workers, present_workers, used_seconds
from search.storage.tables import WORKERS, StudyStorage
from search.storage.transaction import claim

WAITING = optuna.trial.create_trial(state=TrialState.WAITING)
NEWS = News([StoredPoint(5, 5, 5.0, 0.5, 0.5, {"score": 0.9})], "score", {"note": "x"})


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, here: Path) -> StudyStorage:
    if request.param == "sqlite":
        return open_storage(here / "study.db")
    postgres: Postgres = request.getfixturevalue("postgres")
    return open_storage(postgres.new_database())


def handed_out(storage: StudyStorage, seconds: float = 3600) -> tuple[int, int, str]:
    """Return the IDs of a study and of its trial, and the name of the trial's lease."""
    study_id = optuna.create_study(study_name="s", storage=storage)._study_id
    add_trials(storage, study_id, 1, [WAITING])
    trial_id = storage.get_all_trials(study_id)[0]._trial_id
    lease = Lease(storage.url, study_id, 0.3).join()
    assert claim(storage, [trial_id], lease.name) == [trial_id]
    lease.outlive(seconds)
    return study_id, trial_id, lease.name


def test_it_needs_no_process_and_ends_by_the_clock(storage: StudyStorage) -> None:
    study_id, _, name = handed_out(storage, seconds=0.5)
    with storage.engine.begin() as connection:
        assert present_workers(connection, study_id) == {name}
        assert list(gone_workers(connection, study_id)) == []
    time.sleep(0.6)
    with storage.engine.begin() as connection:
        ((gone, reason, _),) = gone_workers(connection, study_id)
        assert connection.execute(WORKERS.select()).one().lease_seconds == 0.5
    assert gone == name and reason.startswith("not told or reported for")


def test_news_renew_it_and_a_step_is_kept_once(storage: StudyStorage) -> None:
    _, trial_id, name = handed_out(storage)
    with storage.engine.begin() as connection:
        before = connection.execute(WORKERS.select()).one().renewed
    time.sleep(0.01)
    for _ in range(2):
        seconds = asked.report(storage, trial_id, name, NEWS)
    with storage.engine.begin() as connection:
        assert connection.execute(WORKERS.select()).one().renewed > before
    trial = storage.get_trial(trial_id)
    assert trial.intermediate_values == {5: 0.9} and trial.user_attrs["note"] == "x"
    assert len(trial.system_attrs[CURVE]) == 1 and seconds > 0


def test_the_end_closes_it_and_counts_its_time(storage: StudyStorage) -> None:
    study_id, trial_id, name = handed_out(storage)
    asked.end(storage, trial_id, name, NEWS, TrialState.COMPLETE, [0.9], seconds=12.5)
    trial = storage.get_trial(trial_id)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.9])
    assert trial.user_attrs[SECONDS] == 12.5
    with storage.engine.begin() as connection:
        assert used_seconds(connection, study_id) == (12.5, 0)
        assert connection.execute(WORKERS.select()).one().ended == TOLD
    for late in (
        lambda: asked.report(storage, trial_id, name, NEWS),
        lambda: asked.end(storage, trial_id, name, NEWS, TrialState.COMPLETE, [0.1]),
    ):
        with pytest.raises(LeaseLost, match=TOLD):
            late()
    assert storage.get_trial(trial_id).values == [0.9]


def test_an_end_whose_answer_was_lost_is_not_refused(
    storage: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trial_id, name = handed_out(storage)

    def twice(operate: object) -> None:
        assert callable(operate)
        operate()
        operate()

    monkeypatch.setattr(storage, "retry", twice)
    asked.end(storage, trial_id, name, NEWS, TrialState.PRUNED)
    monkeypatch.undo()
    assert storage.get_trial(trial_id).state is TrialState.PRUNED


def test_closing_a_lease_twice_changes_nothing(storage: StudyStorage) -> None:
    _, _, name = handed_out(storage)
    asked.close(storage, name, "first")
    asked.close(storage, name, "second")
    with storage.engine.begin() as connection:
        assert connection.execute(WORKERS.select()).one().ended == "first"


def test_a_lease_that_was_ended_cannot_outlive_its_process(storage: StudyStorage) -> None:
    study_id = optuna.create_study(study_name="s", storage=storage)._study_id
    lease = Lease(storage.url, study_id, 3600).join()
    with storage.engine.begin() as connection:
        connection.execute(WORKERS.update().values(ended="taken for dead"))
    with pytest.raises(LeaseLost):
        lease.outlive(3600)
