"""Wait for a storage that is not available: a full disk, a restarted server, a held lock.

No result may be lost for such a reason. Every operation on the storage is safe to repeat, so it is
repeated until it works.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lightning_modules.error import ConfigError, Problem, Verbatim

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
REPORT_AFTER_SECONDS = 1.0
REPORT_AGAIN_SECONDS = 60.0
STOPPING_SECONDS = 5.0

# Classes of PostgreSQL's transient errors: connection, resources, operator, rollback, system.
_PASSING = ("08", "53", "57P", "40", "58")
# Messages of libpq, which have no class, about errors that do not pass.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")
_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_CANTOPEN = 5, 6, 10, 13, 14
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26
_FULL_BYTES = 1_000_000


class StorageGone(RuntimeError):
    """The storage did not answer in time."""


@dataclass
class Retry:
    """How long to wait for a storage, and how to report it.

    Attributes:
        storage: The storage as text, without its password.
        max_seconds: Time to wait; None waits without limit.
        report: Called with messages about what it waits for.
        is_stopping: Whether to give up soon, because a stop was requested.
        waiting: Called repeatedly while waiting.

    """

    storage: str
    max_seconds: float | None = 10.0
    report: Callable[[str], None] = lambda text: None
    is_stopping: Callable[[], bool] = lambda: False
    waiting: Callable[[], None] = lambda: None

    def __call__(self, operate: Callable[[], T]) -> T:
        """Return the result of `operate`, as soon as the storage is available.

        Raises:
            StorageGone: It was not available in time.
            ConfigError: Its file is damaged, which no waiting mends.

        """
        start, wait = time.monotonic(), FIRST_WAIT_SECONDS
        next_report = REPORT_AFTER_SECONDS
        while True:
            try:
                value = operate()
            except Exception as error:
                trouble = trouble_of(error, self.storage)
                if trouble is None:
                    if (damage := _damage_of(error)) is not None:
                        raise ConfigError(not_of_studies(self.storage, damage)) from None
                    raise
                waited = time.monotonic() - start
                longest = STOPPING_SECONDS if self.is_stopping() else self.max_seconds
                if longest is not None and waited > longest:
                    raise StorageGone(f"{trouble}; waited {waited:.0f} s") from None
                if waited >= next_report:
                    self.report(f"{trouble}; waiting")
                    next_report = waited + REPORT_AGAIN_SECONDS
            else:
                if next_report > REPORT_AFTER_SECONDS:
                    self.report(f"{self.storage} is available again")
                return value
            self.waiting()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def trouble_of(error: BaseException, storage: str) -> str | None:
    """Return a message if the error is temporary or can be fixed meanwhile, else None."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(Path(getattr(error, "path", None) or error.filename or storage))
    cause = _cause(error)
    if isinstance(cause, PoolTimeout):
        return f"{storage} has no free connection"
    if not isinstance(cause, DBAPIError):
        return None
    code = getattr(cause.orig, "sqlite_errorcode", None)
    if code is not None:
        return _trouble_of_sqlite(code & 0xFF, storage)
    return _trouble_of_server(cause, storage)


def not_of_studies(storage: str, reason: str) -> Problem:
    """Return the problem of a storage that is no database of studies, or one that is damaged."""
    return Problem("study", f"{storage} must be a database of studies", Verbatim(reason))


def _cause(error: BaseException) -> BaseException | None:
    """Return the database's own error, or that of the pool of connections; None for any other."""
    from sqlalchemy.exc import DBAPIError, PendingRollbackError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError | PoolTimeout):
        # If reading trials fails, Optuna retries in the broken transaction, which hides the cause.
        is_second = isinstance(cause, PendingRollbackError)
        cause = cause.__context__ if is_second else cause.__cause__
    return cause


def _damage_of(error: BaseException) -> str | None:
    """Return SQLite's message if its file is damaged, else None."""
    own = getattr(_cause(error), "orig", None)
    code = getattr(own, "sqlite_errorcode", 0)
    return str(own) if code & 0xFF in (_SQLITE_CORRUPT, _SQLITE_NOTADB) else None


def _trouble_of_server(error: DBAPIError, storage: str) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    if any(phrase in str(error.orig) for phrase in _REFUSALS):
        return None
    if state is not None and state.startswith(_PASSING):
        full = ": its disk is full" if state == "53100" else ""
        return f"{storage} is not available now{full}"
    is_gone = error.connection_invalidated or (
        state is None and type(error.orig).__name__ in ("OperationalError", "InterfaceError")
    )
    return f"{storage} cannot be reached" if is_gone else None


def _trouble_of_sqlite(code: int, storage: str) -> str | None:
    if code in (_SQLITE_BUSY, _SQLITE_LOCKED):
        return f"{storage} is locked by another process"
    # On a full disk, SQLite may also fail to extend its log or the index.
    free = _free_bytes(Path(storage))
    if code == _SQLITE_FULL or (
        code in (_SQLITE_IOERR, _SQLITE_CANTOPEN) and free is not None and free < _FULL_BYTES
    ):
        return _full(Path(storage))
    return None


def _full(path: Path) -> str:
    free = _free_bytes(path)
    space = "" if free is None else f", {free:,} bytes are free"
    return f"the disk of {path} is full{space}"


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
