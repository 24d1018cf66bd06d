from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from faults.postgres import Postgres
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from search.machine.process import Process
from search.storage.add import add_trials
from search.storage.attempt_end import end_worker
from search.storage.attribute import WORKER
from search.storage.engine import open_storage
from search.storage.failure import FailureKind
from search.storage.lease import Lease, LeaseLost, gone_workers, this_host, used_seconds
from search.storage.tables import WORKERS, StudyStorage
from search.storage.transaction import claim, set_attributes
from tests.conftest import wait_until

WAITING = optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, here: Path) -> StudyStorage:
    if request.param == "sqlite":
        return open_storage(here / "study.db")
    return open_storage(request.getfixturevalue("postgres").new_database())


@pytest.fixture
def study_id(storage: StudyStorage) -> int:
    return optuna.create_study(study_name="s", storage=storage)._study_id


def lease_on(storage: StudyStorage, study_id: int, seconds: float = 3600) -> Lease:
    """Join as a worker; a lease of one hour is not renewed during a test."""
    return Lease(storage.url, study_id, seconds).join()


def renewed(storage: StudyStorage) -> float:
    """Return when the only lease was last renewed."""
    with storage.engine.begin() as connection:
        return float(connection.execute(WORKERS.select()).one().renewed)


def gone(storage: StudyStorage, study_id: int) -> dict[str, str]:
    with storage.engine.begin() as connection:
        return {name: reason for name, reason, _ in gone_workers(connection, study_id)}


def test_a_lease_is_renewed_and_ends_in_order(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id, seconds=0.6)
    first = renewed(storage)
    wait_until(lambda: renewed(storage) > first, "a renewed lease")
    with storage.engine.begin() as connection:
        assert connection.execute(WORKERS.select()).one().ended is None
    assert gone(storage, study_id) == {}
    lease.leave()
    with storage.engine.begin() as connection:
        assert connection.execute(WORKERS.select()).one().ended == "left in order"
    assert gone(storage, study_id) == {}


def other_host(storage: StudyStorage, **values: object) -> None:
    """Move every worker to another machine, and change other values of its row."""
    with storage.engine.begin() as connection:
        connection.execute(WORKERS.update().values(host="elsewhere", **values))


def uptime(storage: StudyStorage) -> float:
    """Return the server's uptime in seconds."""
    query = text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
    with storage.engine.begin() as connection:
        return float(connection.scalar(query) or 0)


def test_on_another_host_only_the_lease_decides(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)
    other_host(storage, pid=1)
    assert gone(storage, study_id) == {}
    # Only the server's uptime counts as silence, which may be a second here.
    is_server = storage.engine.dialect.name == "postgresql"
    seconds = min(500, uptime(storage) / 2) if is_server else 500
    other_host(storage, renewed=WORKERS.c.renewed - 1000, lease_seconds=seconds)
    reason = gone(storage, study_id)[lease.name]
    match = re.fullmatch(r"no heartbeat for (\d+) s", reason)
    assert match is not None and seconds - 1 <= int(match[1])
    assert is_server or 1000 <= int(match[1]) < 2000
    lease.leave()


def test_no_lease_expires_while_its_server_is_down(postgres: Postgres) -> None:
    storage = open_storage(postgres.new_database())
    study = optuna.create_study(study_name="s", storage=storage)
    lease = lease_on(storage, study._study_id)
    day = 24 * 3600
    other_host(storage, renewed=WORKERS.c.renewed - day, lease_seconds=uptime(storage) + 3600)
    assert gone(storage, study._study_id) == {}
    lease.leave()


def test_on_the_same_host_the_kernel_decides(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)
    with storage.engine.begin() as connection:
        started = Process.this().started - 100  # an earlier process with the same PID
        connection.execute(WORKERS.update().values(started=started, supervisor_started=started))
    assert gone(storage, study_id) == {lease.name: "its process is gone"}
    with storage.engine.begin() as connection:
        # A live engine will report how its worker ended.
        connection.execute(WORKERS.update().values(supervisor_pid=1, supervisor_started=0))
        init = Process.of(1)
        connection.execute(
            WORKERS.update().values(supervisor_pid=1, supervisor_started=init.started)
        )
    assert gone(storage, study_id) == {}
    lease.leave()


def test_every_transaction_after_the_end_of_the_lease_is_refused(
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
    with storage.engine.begin() as connection:  # no lock remains
        connection.execute(text("UPDATE studies SET study_name = 's'"))
    lease.leave()


def test_training_time_is_counted_until_the_end(storage: StudyStorage, study_id: int) -> None:
    lease = lease_on(storage, study_id)

    def used() -> tuple[float, int]:
        with storage.engine.begin() as connection:
            return used_seconds(connection, study_id)

    began = time.monotonic()
    lease.set_busy(True)
    wait_until(lambda: used()[0] > 0.2, "time of training")
    seconds, num_busy = used()
    slack = 0.1  # between this clock and the storage's
    assert 0.2 < seconds < time.monotonic() - began + slack and num_busy == 1
    end_worker(storage, lease.name, FailureKind.killed, "killed", max_attempts=3)
    after, num_busy = used()
    longest = time.monotonic() - began + slack
    assert seconds <= after < longest and num_busy == 0
    assert used() == (after, 0)  # exactly the same


def test_a_short_pause_is_stored_with_the_next_renewal(
    storage: StudyStorage, study_id: int
) -> None:
    lease = lease_on(storage, study_id)

    def num_busy() -> int:
        with storage.engine.begin() as connection:
            return used_seconds(connection, study_id)[1]

    lease.set_busy(True, at_once=False)  # others take it to be idle: they must know
    assert num_busy() == 1
    stored = renewed(storage)
    lease.set_busy(False, at_once=False)
    lease.set_busy(True, at_once=False)
    assert (num_busy(), renewed(storage)) == (1, stored)
    lease.set_busy(False)
    assert num_busy() == 0
    lease.leave()


def test_only_training_counts_with_pauses_that_are_not_stored_at_once(
    storage: StudyStorage, study_id: int
) -> None:
    lease = lease_on(storage, study_id)
    began = time.monotonic()
    for _ in range(2):
        lease.set_busy(True, at_once=False)
        time.sleep(0.02)
        lease.set_busy(False, at_once=False)
        time.sleep(0.2)
    lease.leave()
    with storage.engine.begin() as connection:
        seconds, _ = used_seconds(connection, study_id)
    assert 0.04 <= seconds < time.monotonic() - began - 0.4


HOST = "from search.storage.lease import this_host; print(this_host())"


def host_in(*before: str) -> str:
    """Return the host as another process sees it."""
    words = [*before, sys.executable, "-c", HOST]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names its boot")
def test_a_host_is_one_boot_of_one_machine(here: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    name, start, _ = this_host().split()
    assert name == socket.gethostname() and boot.startswith(start)
    assert host_in() == this_host()


def test_another_container_is_another_host(here: Path) -> None:
    container = ("unshare", "--pid", "--fork", "--mount-proc")
    if not shutil.which("unshare") or subprocess.run([*container, "true"], check=False).returncode:
        pytest.skip("processes with numbers of their own are not permitted here")
    this, other = this_host().split(), host_in(*container).split()
    assert other[:2] == this[:2] and other[2] != this[2]


def test_a_lease_is_renewed_while_its_worker_is_in_a_transaction(postgres: Postgres) -> None:
    # Only on a server: SQLite's writers wait for each other, but never long.
    storage = open_storage(postgres.new_database())
    study = optuna.create_study(study_name="s", storage=storage)
    fenced = open_storage(storage.url)
    lease = lease_on(fenced, study._study_id, seconds=0.6)
    lease.fence(fenced.engine)
    with fenced.engine.begin():
        first = renewed(storage)
        wait_until(lambda: renewed(storage) > first, "a lease renewed during a transaction")
        with storage.engine.begin() as connection:
            # But it cannot be ended during the transaction.
            connection.execute(text("SET lock_timeout = '200ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                connection.execute(WORKERS.select().with_for_update())
    lease.leave()


def test_a_worker_stuck_in_a_transaction_does_not_block_others_for_long(postgres: Postgres) -> None:
    with open_storage(postgres.new_database()).engine.begin() as connection:
        shown = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert shown == "30s"
