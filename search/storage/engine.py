"""Open the storage of a study: SQLite in its folder, or a PostgreSQL server."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import draft_of
from search.storage.location import VARIABLE, file_of, is_local, shown
from search.storage.retry import Retry

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from search.storage.tables import StudyStorage

TIMEOUT_SECONDS = 120
CONNECT_SECONDS = 10
# An arbitrary lock number, the same for all processes that create tables on a server.
_MAKING = 7_212_026
# Errors of a server if another program has just created the table: unique_violation in its
# catalogue, duplicate_table, duplicate_object.
_MADE_MEANWHILE = ("23505", "42P07", "42710")
_ATTEMPTS = 5


def open_storage(url: str | Path, retry: Retry | None = None) -> StudyStorage:
    """Open a storage by its URL or file; create its tables if they are missing.

    Args:
        url: A URL from `search.storage.location.storage_of`, or the path of an SQLite file.
        retry: How long to wait for a storage that does not answer; 10 seconds by default.

    Raises:
        StorageGone: It does not answer.
        ConfigError: It refuses this user name and password.

    """
    from search.storage.tables import TABLES, StudyStorage

    url = f"sqlite:///{url}" if isinstance(url, Path) else url
    retry = retry or Retry(shown(url))
    if is_local(url):
        if not file_of(url).exists():
            retry(lambda: _make_file(file_of(url)))
        storage = StudyStorage(url, _engine_options(url), retry)
        _prepare(storage.engine)
        retry(lambda: TABLES.create_all(storage.engine))
    else:
        storage = _on_server(url, retry)
    return storage


def open_engine(url: str) -> Engine:
    """Return an engine for an open storage whose connections are not fenced by a lease."""
    from sqlalchemy import create_engine

    engine = create_engine(url, **_engine_options(url))
    _prepare(engine)
    return engine


def _engine_options(url: str) -> dict[str, Any]:
    if is_local(url):
        # isolation_level None: the driver starts no transactions by itself.
        return {"connect_args": {"timeout": TIMEOUT_SECONDS, "isolation_level": None}}
    return {
        "pool_size": 2,  # a server accepts about a hundred connections
        "max_overflow": 8,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        # Code that counts and numbers trials under a lock must see all earlier commits.
        "isolation_level": "READ COMMITTED",
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "finesweep",
            # Notice a lost server within about a minute.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    }


def _prepare(engine: Engine) -> None:
    from sqlalchemy import event

    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    else:
        event.listen(engine, "connect", _on_server_connect)
    engine.dispose()  # the connections that created the tables lack the hooks


def _on_server(url: str, retry: Retry) -> StudyStorage:
    """Open a server's storage; a lock keeps processes from creating its tables concurrently."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import DatabaseError, OperationalError

    from search.storage.tables import TABLES, StudyStorage

    engine = create_engine(url, **_engine_options(url))

    def make(attempts_left: int) -> bool:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MAKING})
                connection.commit()  # the lock belongs to the session
                made = StudyStorage(url, _engine_options(url), Retry(shown(url), max_seconds=0))
                TABLES.create_all(made.engine)
                made.engine.dispose()
        except DatabaseError as error:
            state = getattr(error.orig, "sqlstate", None)
            if not attempts_left or state not in _MADE_MEANWHILE:
                raise
            return False
        finally:
            engine.dispose()  # releases the lock
        return True

    try:
        if not retry(lambda: all(inspect(engine).has_table(name) for name in TABLES.tables)):
            # Stock Optuna (its dashboard, a notebook) takes no lock. It creates all tables in one
            # transaction and then their version; a second process gets an error after each.
            for left in reversed(range(_ATTEMPTS)):
                if retry(partial(make, left)):
                    break
        storage = StudyStorage(url, _engine_options(url), retry)
        _prepare(storage.engine)
        return storage
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[-1]
        fix = f"Check user, password and database of storage=URL or {VARIABLE}."
        rule = f"{shown(url)} must accept the login"
        raise ConfigError(Problem("storage", rule, Verbatim(reason), fix)) from None
    finally:
        engine.dispose()


def _make_file(path: Path) -> None:
    """Create a database with all its tables at `path`, unless another process was faster.

    Creating tables in one file from two processes at once fails, so it is created elsewhere first.
    """
    from optuna.storages import RDBStorage

    from search.storage.tables import TABLES

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        storage = RDBStorage(f"sqlite:///{draft}")
        TABLES.create_all(storage.engine)
        storage.engine.dispose()
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _on_connect(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a stored result is on disk before the worker continues.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _on_server_connect(connection: Any, _: Any) -> None:
    # A worker that stops or vanishes during a transaction must not block the others.
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = '30s'")
    connection.commit()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
