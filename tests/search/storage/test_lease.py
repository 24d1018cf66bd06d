from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from search.machine.process import Process
from search.storage.attribute import WORKER
from search.storage.engine import open_storage
from search.storage.failure import FailureKind
from search.storage.lease import Lease, LeaseLost, gone_workers, this_host, used_seconds
from search.storage.tables import WORKERS, StudyStorage
from search.storage.transaction import add_trials, claim, end_worker, set_attributes

WAITING = optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, here: Path) -> StudyStorage:
    if request.param == "sqlite":
        return open_storage(here / "study.db")
    return open_storage(request.getfixturevalue("postgres").new_database())


@pytest.fixture
def study_id(storage: StudyStorage) -> int:
    return optuna.create_study(study_name="s", storage=storage)._study_id


def lease_on(storage: StudyStorage, study_id: int, seconds: float = 60) -> Lease:
    return Lease(storage.url, study_id, seconds).join()


def gone(storage: StudyStorage, study_id: int) -> dict[str, str]:
    with storage.engine.begin() as connection:
        return {name: reason for name, reason, _ in gone_workers(connection, study_id)}


def test_a_lease_is_renewed_and_ends_in_order(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id, seconds=0.6)
    with storage.engine.begin() as connection:
        first = connection.execute(WORKERS.select()).one()
    time.sleep(0.5)
    with storage.engine.begin() as connection:
        later = connection.execute(WORKERS.select()).one()
    assert later.renewed > first.renewed and later.ended is None
    assert gone(storage, study_id) == {}
    lease.leave()
    with storage.engine.begin() as connection:
        assert connection.execute(WORKERS.select()).one().ended == "left in order"
    assert gone(storage, study_id) == {}


def other_host(storage: StudyStorage, **values: object) -> None:
    """Let every worker be one of another machine, and change what else is said of it."""
    with storage.engine.begin() as connection:
        connection.execute(WORKERS.update().values(host="elsewhere", **values))


def test_elsewhere_only_the_lease_tells(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)
    other_host(storage, pid=1)
    assert gone(storage, study_id) == {}
    with storage.engine.begin() as connection:
        connection.execute(WORKERS.update().values(renewed=WORKERS.c.renewed - 61))
        # No lease can be renewed while its server is down.
        is_server = connection.dialect.name == "postgresql"
    if is_server:
        assert gone(storage, study_id) == {} or "61 s" in gone(storage, study_id)[lease.name]
    else:
        assert gone(storage, study_id) == {lease.name: "it gave no sign of life for 61 s"}
    lease.leave()


def test_here_the_kernel_tells(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)
    with storage.engine.begin() as connection:
        started = Process.this().started - 100  # an earlier process of the same number
        connection.execute(WORKERS.update().values(started=started, supervisor_started=started))
    assert gone(storage, study_id) == {lease.name: "its process is gone"}
    with storage.engine.begin() as connection:
        # An engine that lives will say how its worker ended.
        connection.execute(WORKERS.update().values(supervisor_pid=1, supervisor_started=0))
        init = Process.of(1)
        connection.execute(
            WORKERS.update().values(supervisor_pid=1, supervisor_started=init.started)
        )
    assert gone(storage, study_id) == {}
    lease.leave()


def test_every_transaction_of_one_whose_lease_ended_is_refused(
    storage: StudyStorage, study_id: int
) -> None:
    fenced = open_storage(storage.url if "postgres" in storage.url else Path(storage.url[10:]))
    lease = lease_on(fenced, study_id)
    lease.fence(fenced.engine)
    study = optuna.load_study(study_name="s", storage=fenced)
    trial = study.ask()
    set_attributes(storage, trial._trial_id, {WORKER: lease.name})
    trial.report(0.5, 1)
    (fall,) = end_worker(storage, lease.name, FailureKind.lost, "gone", max_attempts=3)
    assert fall.number == 0 and fall.ending is None
    for late in (
        lambda: trial.report(0.6, 2),
        lambda: study.tell(trial, 0.7),
        lambda: trial.set_user_attr("late", 1),
        lambda: set_attributes(fenced, trial._trial_id, {"late": 1}),
        lambda: claim(fenced, [trial._trial_id], lease.name),
        lambda: add_trials(fenced, study_id, 9, [WAITING]),
    ):
        with pytest.raises(LeaseLost, match="gone"):
            late()
    assert lease.is_lost
    (kept,) = optuna.load_study(study_name="s", storage=storage).trials
    assert kept.state is optuna.trial.TrialState.WAITING and "late" not in kept.user_attrs
    assert kept.intermediate_values == {1: 0.5}
    with storage.engine.begin() as connection:  # no lock was left behind
        connection.execute(text("UPDATE studies SET study_name = 's'"))
    lease.leave()


def test_training_time_is_counted_up_to_the_end(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)
    lease.set_busy(True)
    time.sleep(0.4)
    with storage.engine.begin() as connection:
        used, num_busy = used_seconds(connection, study_id)
    assert 0.4 <= used < 2 and num_busy == 1
    end_worker(storage, lease.name, FailureKind.killed, "killed", max_attempts=3)
    with storage.engine.begin() as connection:
        after, num_busy = used_seconds(connection, study_id)
    assert used <= after < 2 and num_busy == 0
    time.sleep(0.3)
    with storage.engine.begin() as connection:
        assert used_seconds(connection, study_id) == (after, 0)


def test_a_host_is_this_boot_of_this_machine(here: Path) -> None:
    assert this_host() == this_host()
    assert len(this_host().split()) == 3


def test_a_lease_is_renewed_while_its_worker_is_in_a_transaction(
    storage: StudyStorage, study_id: int
) -> None:
    if storage.engine.dialect.name == "sqlite":
        pytest.skip("SQLite's writers wait for each other, and never for long")
    fenced = open_storage(storage.url)
    lease = lease_on(fenced, study_id, seconds=0.6)
    lease.fence(fenced.engine)
    with fenced.engine.begin():
        with storage.engine.begin() as connection:
            first = connection.execute(WORKERS.select()).one().renewed
        time.sleep(0.5)
        with storage.engine.begin() as connection:
            assert connection.execute(WORKERS.select()).one().renewed > first
            # ... but nobody ends it as long as the transaction lasts.
            connection.execute(text("SET lock_timeout = '200ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                connection.execute(WORKERS.select().with_for_update())
    lease.leave()


def test_who_stands_still_in_a_transaction_holds_up_no_one_for_long(
    storage: StudyStorage, study_id: int
) -> None:
    with storage.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            shown = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
            assert shown == "30s"
