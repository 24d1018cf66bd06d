from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event, text

from search.storage import open_storage, storage_url


def test_folder_and_file_are_made(here: Path) -> None:
    open_storage(here / "a/b/study.db")
    assert (here / "a/b/study.db").is_file()


def test_stock_optuna_reads_the_tables(here: Path) -> None:
    study = optuna.create_study(study_name="mine", storage=open_storage(here / "study.db"))
    study.tell(study.ask(), 0.5)
    stock = optuna.load_study(study_name="mine", storage=storage_url(here / "study.db"))
    assert stock.best_value == 0.5


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2)])
def test_every_connection_is_durable(here: Path, pragma: str, value: object) -> None:
    storage = open_storage(here / "study.db")
    with storage.engine.connect() as first, storage.engine.connect() as second:
        for connection in (first, second):
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value


def test_every_transaction_begins_as_a_writer(here: Path) -> None:
    storage = open_storage(here / "study.db")
    statements: list[str] = []
    event.listen(
        storage.engine, "before_cursor_execute", lambda *call: statements.append(str(call[2]))
    )
    with storage.engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    assert statements == ["BEGIN IMMEDIATE", "SELECT 1"]


CLAIM = """
import sys
from pathlib import Path
from optuna.trial import TrialState
from search.storage import open_storage

storage = open_storage(Path("study.db"))
print("ready", flush=True)
input()
for trial in storage.get_all_trials(storage.get_study_id_from_name("mine")):
    if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
        print(trial.number)
"""


def test_two_processes_claim_each_trial_once(here: Path) -> None:
    study = optuna.create_study(study_name="mine", storage=open_storage(here / "study.db"))
    for _ in range(40):
        study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    claimants = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CLAIM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for claimant in claimants:
        assert claimant.stdout is not None
        assert claimant.stdout.readline() == "ready\n"
    for claimant in claimants:
        assert claimant.stdin is not None
        claimant.stdin.write("\n")
        claimant.stdin.flush()
    claimed = [int(line) for claimant in claimants for line in claimant.communicate()[0].split()]
    assert sorted(claimed) == list(range(40))
    assert all(trial.state is TrialState.RUNNING for trial in study.trials)
