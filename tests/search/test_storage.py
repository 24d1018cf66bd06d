from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event, text

from search.storage import WORKER, claim, open_storage, requeue, storage_url


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
    connections = [storage.engine.raw_connection() for _ in range(2)]
    for connection in connections:
        assert connection.cursor().execute(f"PRAGMA {pragma}").fetchone() == (value,)
        connection.close()


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
from search.storage import claim, open_storage

storage = open_storage(Path("study.db"))
print("ready", flush=True)
input()
for trial in storage.get_all_trials(storage.get_study_id_from_name("mine")):
    if claim(storage, trial._trial_id, sys.argv[1]):
        print(trial.number)
"""


def test_two_processes_claim_each_trial_once(here: Path) -> None:
    study = optuna.create_study(study_name="mine", storage=open_storage(here / "study.db"))
    for _ in range(40):
        study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    claimants = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CLAIM, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mark in ("first", "second")
    ]
    for claimant in claimants:
        assert claimant.stdout is not None
        assert claimant.stdout.readline() == "ready\n"
    for claimant in claimants:
        assert claimant.stdin is not None
        claimant.stdin.write("\n")
        claimant.stdin.flush()
    first, second = (
        {int(line) for line in claimant.communicate()[0].split()} for claimant in claimants
    )
    assert not first & second
    assert first | second == set(range(40))
    for trial in study.trials:
        assert trial.state is TrialState.RUNNING
        assert trial.user_attrs[WORKER] == ("first" if trial.number in first else "second")


@pytest.fixture
def waiting(here: Path) -> optuna.Study:
    study = optuna.create_study(study_name="mine", storage=open_storage(here / "study.db"))
    study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    return study


def test_claimed_trial_began_now(here: Path, waiting: optuna.Study) -> None:
    before = datetime.now()
    assert claim(open_storage(here / "study.db"), waiting.trials[0]._trial_id, "me")
    began = waiting.trials[0].datetime_start
    assert began is not None
    assert before <= began <= datetime.now()


def test_trial_waits_again_for_the_mark_that_holds_it_alone(
    here: Path, waiting: optuna.Study
) -> None:
    storage, trial_id = open_storage(here / "study.db"), waiting.trials[0]._trial_id
    assert claim(storage, trial_id, "dead")
    assert not requeue(storage, trial_id, "other")
    assert requeue(storage, trial_id, "dead")
    assert not requeue(storage, trial_id, "dead")
    assert claim(storage, trial_id, "other")
    assert waiting.trials[0].user_attrs[WORKER] == "other"


def test_many_processes_may_make_one_database_at_once(here: Path) -> None:
    code = "import sys; from pathlib import Path; from search.storage import open_storage\n"
    code += "open_storage(Path('made.db')).get_all_studies()"
    makers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=here, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [maker.communicate()[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 6, told
    assert sorted(path.name for path in here.iterdir() if "draft" in path.name) == []
