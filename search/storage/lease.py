"""Who is at work on a study, and whether they still are.

A worker's lease is a row in the storage that a thread of its renews. Its own host asks the kernel
whether the process is there and not stopped; everybody else goes by the lease, which has run out
when it was not renewed for `lease_seconds` while its storage was up. Whoever finds a worker gone
ends its lease and gives its trials back to the queue in one transaction
(`search.storage.transaction`), so that no two do.

A worker can be wrong about being alive: stopped, swapped out, cut off. So each of its transactions
begins by reading its own row, under a lock that whoever ends the lease has to wait for: a worker
that wakes up late can change nothing any more.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.machine.process import Process
from search.storage.engine import open_engine

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

log = logging.getLogger(__name__)

RENEWALS = 6  # in the time of a lease


class LeaseLost(Exception):
    """Others have taken this worker for dead and go on with its trial."""


@cache
def this_host() -> str:
    """Return the name of this machine, this boot of it, and this container's process numbers.

    Only where all three agree does a process number tell anything.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        numbers = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {boot} {numbers}"


class Lease:
    """The calling process as a worker of a study, from `join` until `leave`.

    Attributes:
        name: The worker's name, in every trial that it trains.
        study_id: The study's number in its storage.

    """

    def __init__(
        self, url: str, study_id: int, lease_seconds: float, engine_process: Process | None = None
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.study_id = study_id
        self._lease_seconds = lease_seconds
        self._engine_process = engine_process or Process.this()
        self._engine = open_engine(url)
        self._left = threading.Event()
        self._lost = threading.Event()
        self._busy_before = 0.0
        self._busy_since: float | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether others have ended it."""
        return self._lost.is_set()

    def join(self) -> Lease:
        """Enter the worker into the storage and begin to renew its lease."""
        from sqlalchemy.exc import IntegrityError

        from search.storage.tables import WORKERS

        process = Process.this()
        # Twice, where the answer to the first was lost on the way.
        with suppress(IntegrityError), self._engine.begin() as connection:
            connection.execute(
                WORKERS.insert().values(
                    name=self.name,
                    study_id=self.study_id,
                    host=this_host(),
                    pid=process.pid,
                    started=process.started,
                    supervisor_pid=self._engine_process.pid,
                    supervisor_started=self._engine_process.started,
                    lease_seconds=self._lease_seconds,
                    renewed=clock(connection),
                    is_busy=False,
                    busy_seconds=0.0,
                )
            )
        self._thread.start()
        return self

    def leave(self, reason: str = "left in order") -> None:
        """End the lease; a worker that is at a trial must have given it back before."""
        self._left.set()
        self._thread.join(timeout=10)
        self._write(ended=reason)
        self._engine.dispose()

    def set_busy(self, is_busy: bool) -> None:
        """Count the time from here on as training, or no more."""
        with self._lock:
            now = time.monotonic()
            if self._busy_since is not None:
                self._busy_before += now - self._busy_since
            self._busy_since = now if is_busy else None
        self._write()

    def fence(self, engine: Engine) -> None:
        """Let every transaction of `engine` fail with LeaseLost once the lease has ended."""
        from sqlalchemy import event, select

        from search.storage.tables import WORKERS

        # PostgreSQL's FOR KEY SHARE lets the lease be renewed meanwhile; whoever ends it takes the
        # row FOR UPDATE, and waits.
        mine = select(WORKERS.c.ended).where(WORKERS.c.name == self.name)
        if engine.dialect.name != "sqlite":
            mine = mine.with_for_update(read=True, key_share=True)

        def look(connection: Connection) -> None:
            found = connection.execute(mine).one_or_none()
            if found is None or found.ended is not None:
                self._lost.set()
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("ROLLBACK")
                raise LeaseLost(found.ended if found else "the study was removed")

        event.listen(engine, "begin", look)

    def _keep(self) -> None:
        while not self._left.wait(self._lease_seconds / RENEWALS):
            try:
                self._write()
            except Exception as error:  # a full disk, a server away: the next one may work
                reason = str(error).partition("\n")[0]
                log.warning("the lease of %s could not be renewed: %s", self.name, reason)

    def _write(self, **values: Any) -> None:
        from search.storage.tables import WORKERS

        mine = WORKERS.c.name == self.name
        with self._engine.begin() as connection:
            with self._lock:
                busy = self._busy_before
                if self._busy_since is not None:
                    busy += time.monotonic() - self._busy_since
                values |= {"busy_seconds": busy, "is_busy": self._busy_since is not None}
            values["renewed"] = clock(connection)
            update = WORKERS.update().where(mine, WORKERS.c.ended.is_(None)).values(**values)
            if connection.execute(update).rowcount == 0:
                self._lost.set()


def clock(connection: Connection) -> float:
    """Return the seconds since 1970 by the clock that all workers of the storage share."""
    from sqlalchemy import text

    if connection.dialect.name == "sqlite":
        return time.time()  # one host
    now = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
    assert now is not None
    return float(now)


def gone_workers(connection: Connection, study_id: int) -> Iterator[tuple[str, str, float]]:
    """Yield the name of each worker that is gone, why, and when its lease was last renewed."""
    from search.storage.tables import WORKERS

    alive = WORKERS.select().where(WORKERS.c.study_id == study_id, WORKERS.c.ended.is_(None))
    rows = connection.execute(alive).all()
    if not rows:
        return
    now, up_since = clock(connection), _up_since(connection)
    for row in rows:
        silent = now - max(float(row.renewed), up_since)
        reason = _why_gone(row, silent)
        if reason is not None:
            yield row.name, reason, float(row.renewed)


def present_workers(connection: Connection, study_id: int) -> frozenset[str]:
    """Return the names of the workers whose lease has not ended."""
    from sqlalchemy import select

    from search.storage.tables import WORKERS

    here = select(WORKERS.c.name).where(WORKERS.c.study_id == study_id, WORKERS.c.ended.is_(None))
    return frozenset(connection.scalars(here))


def used_seconds(connection: Connection, study_id: int) -> tuple[float, int]:
    """Return the time that the study's workers have trained, and how many do so now.

    What a worker that was killed had trained since it last renewed its lease is not known, and
    not counted.
    """
    from search.storage.tables import WORKERS

    rows = connection.execute(WORKERS.select().where(WORKERS.c.study_id == study_id)).all()
    now, used, num_busy = clock(connection), 0.0, 0
    for row in rows:
        used += float(row.busy_seconds)
        if row.ended is None and row.is_busy:
            used += min(max(0.0, now - float(row.renewed)), float(row.lease_seconds))
            num_busy += 1
    return used, num_busy


def _why_gone(row: Row[Any], silent: float) -> str | None:
    if row.host == this_host():
        state = Process(row.pid, row.started).state()
        if state == "gone":
            # An engine knows better how its worker ended, and is about to say so.
            engine = Process(row.supervisor_pid, row.supervisor_started).state()
            if engine == "gone" or row.supervisor_pid == row.pid or silent > row.lease_seconds:
                return "its process is gone"
            return None
        if state == "running":
            return None
    if silent > row.lease_seconds:
        return f"no heartbeat for {silent:.0f} s"
    return None


def _up_since(connection: Connection) -> float:
    """Return when the storage came up: nobody could renew a lease before."""
    from sqlalchemy import text

    if connection.dialect.name == "sqlite":
        return 0.0
    started = connection.scalar(text("SELECT extract(epoch FROM pg_postmaster_start_time())"))
    assert started is not None
    return float(started)
