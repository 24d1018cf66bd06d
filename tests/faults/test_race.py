"""Many processes compete for trials: each trial gets one of them, and the budget is exact."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.config import compose
from search.machine.process import Process
from search.plan.build import build_plan
from search.storage.add import add_trials
from search.storage.attribute import ATTEMPT, ATTEMPTS, WORKER
from search.storage.engine import open_storage
from search.storage.lease import Lease, gone_workers
from search.storage.location import DATABASE, VARIABLE, study_folder
from search.storage.tables import WORKERS, StudyStorage
from search.storage.transaction import claim, set_attributes
from search.study.prepare import check_study, prepare_study
from search.study.study import Study
from search.worker.forkserver import Forkserver, adopting
from tests.conftest import run_here, wait_until

NUM_QUEUED, NUM_STALE = 40, 10
WAITING = optuna.trial.create_trial(state=TrialState.WAITING)


# Runs the code that it receives, which starts by printing that it is ready.
RACER = """
import os, sys, json, warnings
warnings.simplefilter("ignore")
import lightning_modules.outcome, optuna, search.study.open, search.storage.engine
import alembic.context, sqlalchemy.dialects.postgresql.psycopg
from search.worker.forkserver import serve
serve()
code, folder, variables, *sys.argv[1:] = json.loads(input())
os.chdir(folder)
os.environ.update(variables)
exec(code, {"__name__": "__main__"})
"""


@pytest.fixture(scope="module")
def forkserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forkserver]:
    """Fork the racers from one process: imports in each would take longer than the race."""
    log = tmp_path_factory.mktemp("race") / "forkserver.log"
    with adopting() as is_adopting, log.open("ab") as output:
        if not is_adopting:
            pytest.skip("there is no subreaper")
        forkserver = Forkserver([sys.executable, "-P", "-c", RACER], dict(os.environ), output)
        yield forkserver
        forkserver.close()


class Racer:
    """A process that runs some code."""

    def __init__(self, forkserver: Forkserver, code: str, words: Sequence[str], here: Path) -> None:
        below, order = os.pipe()
        reading, above = os.pipe()
        process = forkserver.fork(below, above, above, lambda: False)
        assert process is not None
        self.process = process
        os.close(below)
        os.close(above)
        self.orders, self.output = os.fdopen(order, "w"), os.fdopen(reading)
        variables = {name: os.environ[name] for name in (VARIABLE,) if name in os.environ}
        print(json.dumps([code, str(here), variables, *words]), file=self.orders, flush=True)

    def end(self) -> list[str]:
        with self.orders, self.output:
            lines = self.output.read().splitlines()
        assert self.process.wait() == 0, lines
        return lines


def together(
    forkserver: Forkserver, code: str, words: Sequence[Sequence[str]], here: Path
) -> list[list[str]]:
    """Run `code` in one process for each of `words`, all at the same time; return the outputs."""
    racers = [Racer(forkserver, code, each, here) for each in words]
    for racer in racers:
        assert racer.output.readline() == "ready\n", racer.end()
    for racer in racers:
        print(file=racer.orders, flush=True)
    return [racer.end() for racer in racers]


def url_of(storage: str | None, here: Path) -> str:
    return storage or f"sqlite:///{here}/race.db"


def opened(storage: str | None, here: Path) -> StudyStorage:
    return open_storage(storage or here / "race.db")


CLAIM = """
import sys
from optuna.trial import TrialState
from pathlib import Path
from search.storage.transaction import claim
from search.storage.engine import open_storage

url, worker = sys.argv[1:]
storage = open_storage(url)
study_ids = [study._study_id for study in storage.get_all_studies()]
print("ready", flush=True)
input()
for study_id in study_ids:
    for trial in storage.get_all_trials(study_id):
        if claim(storage, [trial._trial_id], worker):
            storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [trial.number])
            print(study_id, trial.number)
"""


@pytest.mark.parametrize(
    ("num_processes", "num_repetitions"),
    [(4, 3), pytest.param(16, 20, marks=pytest.mark.slow)],
)
def test_each_queued_trial_is_run_once(
    forkserver: Forkserver,
    storage: str | None,
    here: Path,
    num_processes: int,
    num_repetitions: int,
) -> None:
    tables = opened(storage, here)
    study_ids = []
    for number in range(num_repetitions):
        study = optuna.create_study(study_name=f"race{number}", storage=tables)
        study_ids.append(study._study_id)
        add_trials(tables, study._study_id, NUM_QUEUED, [WAITING] * NUM_QUEUED)
    names = [[url_of(storage, here), f"worker-{number}"] for number in range(num_processes)]
    outputs = together(forkserver, CLAIM, names, here)
    runs = Counter(line for lines in outputs for line in lines)
    assert len(runs) == num_repetitions * NUM_QUEUED and set(runs.values()) == {1}
    for number in range(num_repetitions):
        trials = optuna.load_study(study_name=f"race{number}", storage=tables).trials
        assert [trial.values for trial in trials] == [[n] for n in range(NUM_QUEUED)]
        for trial in trials:  # the worker that completed it is the one that owns it
            teller = int(trial.user_attrs[WORKER].removeprefix("worker-"))
            assert f"{study_ids[number]} {trial.number}" in outputs[teller]


REAP = """
import sys
from pathlib import Path
from search.storage.failure import FailureKind
from search.storage.lease import gone_workers
from search.storage.attempt_end import end_worker
from search.storage.engine import open_storage

storage = open_storage(sys.argv[1])
study_ids = [study._study_id for study in storage.get_all_studies()]
print("ready", flush=True)
input()
for study_id in study_ids:
    with storage.engine.begin() as connection:
        gone = list(gone_workers(connection, study_id))
    for worker, reason, renewed in gone:
        for fall in end_worker(storage, worker, FailureKind.lost, reason, 3, renewed):
            print(study_id, fall.number)
"""


@pytest.mark.parametrize("num_repetitions", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_each_stale_trial_is_queued_again_once(
    forkserver: Forkserver, storage: str | None, here: Path, num_repetitions: int
) -> None:
    tables = opened(storage, here)
    for number in range(num_repetitions):
        study = optuna.create_study(study_name=f"race{number}", storage=tables)
        add_trials(tables, study._study_id, NUM_STALE, [WAITING] * NUM_STALE)
        lease = Lease(tables.url, study._study_id, 60)
        tables.retry(lease.join)
        for trial in study.trials:
            assert claim(tables, [trial._trial_id], lease.name)
            set_attributes(tables, trial._trial_id, {ATTEMPT: 1})
        lease._left.set()  # it renews no more, and its process is made another one
        with tables.engine.begin() as connection:
            gone = {"started": 1.0, "supervisor_started": 1.0}
            connection.execute(WORKERS.update().where(WORKERS.c.name == lease.name).values(**gone))
    outputs = together(forkserver, REAP, [[url_of(storage, here)]] * 4, here)
    falls = Counter(line for lines in outputs for line in lines)
    assert len(falls) == num_repetitions * NUM_STALE and set(falls.values()) == {1}
    for number in range(num_repetitions):
        trials = optuna.load_study(study_name=f"race{number}", storage=tables).trials
        assert {trial.state for trial in trials} == {TrialState.WAITING}
        assert [len(trial.user_attrs[ATTEMPTS]) for trial in trials] == [1] * NUM_STALE


# All that a worker does but training.
WORK = """
import sys, time
from pathlib import Path
from lightning_modules.outcome import Ending, Outcome, Point
from search.study.open import load_study
from search.study.session import join

study = load_study(Path(sys.argv[1]))
session = join(study)
print("ready", flush=True)
input()
while (attempt := session.next_attempt()) is not None:
    session.began(attempt, 100, 80)
    metrics = {"accuracy": 1 - abs(attempt.values.get("optimizer.lr", 0) - 0.003), "macro_f1": 0.5,
               "mcc": 0.0, "log_loss": 0.5}
    point = Point(1, 1, 50, 0.5, 0.5, 0.5, metrics, 0.01)
    session.progress(attempt, point)
    outcome = Outcome(Ending.finished, "done", point, (point,), 0.01, 1, 2, "", 1, "fine")
    session.ended(attempt, outcome)
    print(attempt.number, sorted(attempt.values.items()))
"""


def made(here: Path, *words: str) -> Study:
    plan = build_plan(compose("sweep", ["study=s", "model=tiny", "logger=none", *words]))
    folder = study_folder(here, plan.name)
    return prepare_study(plan, folder, check_study(plan, folder))


@pytest.mark.parametrize(
    "num_workers",
    [
        pytest.param(1, marks=pytest.mark.thorough),
        4,
        pytest.param(16, marks=pytest.mark.slow),
    ],
)
def test_the_budget_is_a_total_and_exact(
    forkserver: Forkserver,
    storage: str | None,
    here: Path,
    num_workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, storage or "")
    budget = 4 * num_workers + 1
    folder = made(here, f"search.num_trials={budget}").folder
    outputs = together(forkserver, WORK, [[str(folder)]] * num_workers, here)
    lines = [line for each in outputs for line in each]
    assert sorted(int(line.split()[0]) for line in lines) == list(range(budget))
    distinct = {line.partition(" ")[2] for line in lines}
    assert len(distinct) == budget  # asked for: 99 %
    # ... and when the study continues with a larger one.
    study = made(here, f"search.num_trials={budget + 3}")
    together(forkserver, WORK, [[str(folder)]] * min(num_workers, 2), here)
    trials = study.optuna.get_trials(deepcopy=False)
    assert len(trials) == budget + 3
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_a_space_that_is_used_up_ends_the_study(
    forkserver: Forkserver, storage: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, storage or "")
    space = ("search/space=none", "data.batch_size=choice(8,16,32)", "strategy.rank=choice(4,8)")
    study = made(here, *space, "search.num_trials=20")
    assert study.plan.num_trials == 6
    outputs = together(forkserver, WORK, [[str(study.folder)]] * 4, here)
    lines = [line for each in outputs for line in each]
    assert len(lines) == 6 and len({line.partition(" ")[2] for line in lines}) == 6
    assert len(study.optuna.get_trials(deepcopy=False)) == 6
    assert study.is_over


# Takes a trial and reports; when it gets a line, it continues as if nothing had happened.
HOLD = """
import sys
from pathlib import Path
from lightning_modules.outcome import Ending, Outcome, Point
from search.storage.lease import LeaseLost
from search.study.open import load_study
from search.study.session import join

study = load_study(Path(sys.argv[1]))
session = join(study)
attempt = session.next_attempt()
session.began(attempt, 100, 80)
session.saved(attempt, 7)
print("ready", flush=True)
input()
point = Point(1, 1, 50, 0.5, 0.5, 0.5, {"accuracy": 0.9}, 0.01)
outcome = Outcome(Ending.finished, "done", point, (point,), 0.01, 1, 2, "", 1, "fine")
for tell in (
    lambda: session.progress(attempt, point),
    lambda: session.saved(attempt, 8),
    lambda: session.ended(attempt, outcome),
):
    try:
        tell()
        print("accepted")
    except LeaseLost:
        print("refused")
"""


def held(forkserver: Forkserver, study: Study, here: Path, num_workers: int) -> list[Racer]:
    """Return workers that each have a trial."""
    racers = [Racer(forkserver, HOLD, [str(study.folder)], here) for _ in range(num_workers)]
    for racer in racers:
        assert racer.output.readline() == "ready\n", racer.end()
    return racers


def test_after_all_workers_are_killed_any_command_requeues_their_trials(
    forkserver: Forkserver, storage: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, storage or "")
    study = made(here, "search.num_trials=4")
    for racer in held(forkserver, study, here, 4):
        racer.process.send_signal(signal.SIGKILL)
        assert racer.process.wait() == -signal.SIGKILL
    trials = study.optuna.get_trials(deepcopy=False)
    assert [trial.state for trial in trials] == [TrialState.RUNNING] * 4
    states = json.loads(run_here("status", "study=s", "--json"))["states"]
    assert states["waiting"] == 4 and states["running"] == 0
    for trial in study.optuna.get_trials(deepcopy=False):
        (end,) = trial.user_attrs[ATTEMPTS]
        assert end["reason"] == "its process is gone" and end["step"] == 7
    lines = together(forkserver, WORK, [[str(study.folder)]] * 2, here)
    assert sorted(int(line.split()[0]) for each in lines for line in each) == list(range(4))
    states = json.loads(run_here("status", "study=s", "--json"))["states"]
    assert states["complete"] == 4


def stop_outside_a_transaction(racer: Racer, database: Path | None) -> None:
    """Suspend a process that renews a lease while it does not hold SQLite's lock."""

    def stop() -> bool:
        racer.process.send_signal(signal.SIGSTOP)
        process = Process.of(racer.process.pid)
        wait_until(lambda: process.state() == "stopped", "the process to stop")
        if database is None or not is_locked(database):
            return True
        racer.process.send_signal(signal.SIGCONT)
        return False

    wait_until(stop, "a moment without a transaction")


def wait_for_gone_worker(study: Study, storage: str | None) -> None:
    """Wait until the lease of a worker has expired by the database."""
    tables = open_storage(storage or study.folder / DATABASE)

    def is_there() -> bool:
        with tables.engine.begin() as connection:
            return any(gone_workers(connection, study.optuna._study_id))

    wait_until(is_there, "the lease to expire")


def is_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def test_a_worker_suspended_past_its_lease_can_change_nothing(
    forkserver: Forkserver, storage: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, storage or "")
    study = made(here, "search.num_trials=1", "search.lease_seconds=0.6")
    (stopped,) = held(forkserver, study, here, 1)
    try:
        # In SQLite a process suspended in a transaction blocks all others until it is killed.
        stop_outside_a_transaction(stopped, None if storage else study.folder / DATABASE)
        wait_for_gone_worker(study, storage)
        states = json.loads(run_here("status", "study=s", "--json"))["states"]
        assert states["waiting"] == 1
        (lines,) = together(forkserver, WORK, [[str(study.folder)]], here)
        assert [line.split()[0] for line in lines] == ["0"]
        (successors,) = study.optuna.get_trials()
        assert successors.state is TrialState.COMPLETE and successors.user_attrs[ATTEMPT] == 2
    finally:
        stopped.process.send_signal(signal.SIGCONT)
    print(file=stopped.orders, flush=True)
    assert stopped.end() == ["refused"] * 3
    assert study.optuna.get_trials() == [successors]
