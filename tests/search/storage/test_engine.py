from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from faults.postgres import Postgres
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import create_engine, event, text

from search.storage.engine import open_storage
from tests.conftest import wait_until


def test_folder_and_file_are_created(here: Path) -> None:
    open_storage(here / "a/b/study.db")
    assert (here / "a/b/study.db").is_file()


def test_stock_optuna_reads_the_tables(here: Path) -> None:
    study = optuna.create_study(study_name="mine", storage=open_storage(here / "study.db"))
    study.tell(study.ask(), 0.5)
    stock = optuna.load_study(study_name="mine", storage=f"sqlite:///{here / 'study.db'}")
    assert stock.best_value == 0.5


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2)])
def test_every_connection_is_durable(here: Path, pragma: str, value: object) -> None:
    storage = open_storage(here / "study.db")
    connections = [storage.engine.raw_connection() for _ in range(2)]
    for connection in connections:
        assert connection.cursor().execute(f"PRAGMA {pragma}").fetchone() == (value,)
        connection.close()


def test_every_transaction_starts_as_a_writer(here: Path) -> None:
    storage = open_storage(here / "study.db")
    statements: list[str] = []
    event.listen(
        storage.engine, "before_cursor_execute", lambda *call: statements.append(str(call[2]))
    )
    with storage.engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    assert statements == ["BEGIN IMMEDIATE", "SELECT 1"]


def test_many_processes_can_create_one_database_at_once(here: Path) -> None:
    code = "import sys; from pathlib import Path; from search.storage.engine import open_storage\n"
    code += "open_storage(Path('made.db')).get_all_studies()"
    makers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=here, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    errors = [maker.communicate()[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 6, errors
    assert sorted(path.name for path in here.iterdir() if "draft" in path.name) == []


def test_stock_optuna_can_create_a_servers_tables_at_the_same_time(postgres: Postgres) -> None:
    url = postgres.new_database()
    other = create_engine(url)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor() as pool:
        with other.connect() as stock:
            BaseModel.metadata.create_all(stock)
            opening = pool.submit(open_storage, url)
            with other.connect() as watcher:
                wait_until(
                    lambda: watcher.execute(waiting).scalar() or opening.done(),
                    "a second maker of tables that waits for the first",
                )
            assert not opening.done()
            stock.commit()
        assert opening.result().get_all_studies() == []
    other.dispose()
