"""Waiting for a storage that is not available now: a full disk, a restarted server, a held lock.

Nothing that a worker has to tell may be lost for such a reason, and everything that it does to the
storage can be done twice, so it is done again until it works.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
TELL_AFTER_SECONDS = 1.0
TELL_AGAIN_SECONDS = 60.0
STOPPING_SECONDS = 5.0

# PostgreSQL's classes of errors that pass: connection, resources, operator, rollback, system.
_PASSING = ("08", "53", "57P", "40", "58")
# ... and what libpq says, without a class, where waiting will not help.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")
_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_CANTOPEN = 5, 6, 10, 13, 14
_NO_ROOM_BYTES = 1_000_000


class StorageGone(Exception):
    """The storage did not answer as long as anyone would wait for it."""


@dataclass
class Retry:
    """How long to wait for a storage, and who is told.

    Attributes:
        storage: The storage in words without its password.
        max_seconds: Time to wait; None waits for as long as it takes.
        tell: Hears what is waited for.
        is_stopping: Whether to give up soon, as someone has asked to stop.
        waiting: Called again and again while waiting.

    """

    storage: str
    max_seconds: float | None = 10.0
    tell: Callable[[str], None] = lambda text: None
    is_stopping: Callable[[], bool] = lambda: False
    waiting: Callable[[], None] = lambda: None

    def __call__(self, operate: Callable[[], T]) -> T:
        """Return what `operate` returns, as soon as the storage lets it.

        Raises:
            StorageGone: It did not in time.

        """
        began, wait = time.monotonic(), FIRST_WAIT_SECONDS
        next_word = TELL_AFTER_SECONDS
        while True:
            try:
                value = operate()
            except Exception as error:
                trouble = trouble_of(error, self.storage)
                if trouble is None:
                    raise
                waited = time.monotonic() - began
                longest = STOPPING_SECONDS if self.is_stopping() else self.max_seconds
                if longest is not None and waited > longest:
                    raise StorageGone(f"{trouble}; waited {waited:.0f} s") from None
                if waited >= next_word:
                    self.tell(f"{trouble}; waiting")
                    next_word = waited + TELL_AGAIN_SECONDS
            else:
                if next_word > TELL_AFTER_SECONDS:
                    self.tell(f"{self.storage} is available again")
                return value
            self.waiting()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def trouble_of(error: BaseException, storage: str) -> str | None:
    """Return in words what passes by itself or by somebody's help; None for any other error."""
    from sqlalchemy.exc import DBAPIError, PendingRollbackError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(Path(getattr(error, "path", None) or error.filename or storage))
    found: BaseException | None = error
    while found is not None and not isinstance(found, DBAPIError | PoolTimeout):
        # Optuna reads trials another way when one fails, in a transaction that is broken by then.
        is_second = isinstance(found, PendingRollbackError)
        found = found.__context__ if is_second else found.__cause__
    if isinstance(found, PoolTimeout):
        return f"{storage} has no free connection"
    if not isinstance(found, DBAPIError):
        return None
    code = getattr(found.orig, "sqlite_errorcode", None)
    if code is not None:
        return _trouble_of_sqlite(code & 0xFF, storage)
    return _trouble_of_server(found, storage)


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
    # A full disk also shows as a log or its index that cannot grow.
    free = _free_bytes(Path(storage))
    if code == _SQLITE_FULL or (
        code in (_SQLITE_IOERR, _SQLITE_CANTOPEN) and free is not None and free < _NO_ROOM_BYTES
    ):
        return _full(Path(storage))
    return None


def _full(path: Path) -> str:
    free = _free_bytes(path)
    room = "" if free is None else f", {free:,} bytes are free"
    return f"the disk of {path} is full{room}"


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
