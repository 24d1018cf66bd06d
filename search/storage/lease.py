"""Leases: which workers of a study are alive.

A worker's lease is a row in the storage that one of its threads renews. Processes on the same host
ask the kernel whether the worker runs and is not stopped; other hosts rely on the lease, which has
expired if it was not renewed for `lease_seconds` while its storage was up. A process that finds a
worker gone ends its lease and returns its trials to the queue in one transaction
(`search.storage.attempt_end`), so that only one process does.

A worker may be stopped, swapped out or disconnected without noticing. So each of its transactions
starts by reading its own row, under a lock that a process ending the lease must wait for: a worker
that wakes up too late can change nothing.
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

RENEWALS = 6  # per lease_seconds
ASKED = "asked"
"""The host of a lease that no process renews: of a trial that a loop of the caller's own trains."""


class LeaseLost(Exception):
    """Another process has ended this worker's lease and requeued its trial."""


@cache
def this_host() -> str:
    """Return the IDs of this machine, of its current boot, and of this container's PID namespace.

    A PID identifies a process only if all three are equal.
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
        name: The worker's name, stored with every trial that it trains.
        study_id: The study's ID in its storage.

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
        self._is_busy_stored = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether another process has ended it."""
        return self._lost.is_set()

    def join(self) -> Lease:
        """Add the worker to the storage and start to renew its lease."""
        from sqlalchemy.exc import IntegrityError

        from search.storage.tables import WORKERS

        process = Process.this()
        # This may run twice, if the first answer was lost.
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
        """End the lease; a worker must hand back its trial first."""
        self._left.set()
        self._thread.join(timeout=10)
        self._write(ended=reason)
        self._engine.dispose()

    def outlive(self, seconds: float) -> None:
        """Stop renewing the lease, and let it last `seconds`, even if this process ends.

        Raises:
            LeaseLost: Another process has ended it.

        """
        from search.storage.tables import WORKERS

        self._left.set()
        self._thread.join(timeout=10)
        is_own = WORKERS.c.name == self.name
        with self._engine.begin() as connection:
            now = clock(connection)
            values = {"host": ASKED, "lease_seconds": seconds, "started": now, "renewed": now}
            update = WORKERS.update().where(is_own, WORKERS.c.ended.is_(None)).values(**values)
            if connection.execute(update).rowcount == 0:
                raise LeaseLost("another process ended it")
        self._engine.dispose()

    def set_busy(self, is_busy: bool, *, at_once: bool = True) -> None:
        """Start or stop counting time as training.

        Args:
            is_busy: Whether the worker trains from now on.
            at_once: Whether to store it now. If not, others see it with the next renewal, unless
                they take the worker to be idle while it trains.

        """
        with self._lock:
            now = time.monotonic()
            if self._busy_since is not None:
                self._busy_before += now - self._busy_since
            self._busy_since = now if is_busy else None
            at_once = at_once or (is_busy and not self._is_busy_stored)
        if at_once:
            self._write()

    def fence(self, engine: Engine) -> None:
        """Make every transaction of `engine` fail with LeaseLost once the lease has ended."""
        from sqlalchemy import event, select

        from search.storage.tables import WORKERS

        # PostgreSQL's FOR KEY SHARE allows renewals meanwhile; ending the lease takes the row
        # FOR UPDATE, and so waits.
        own_row = select(WORKERS.c.ended).where(WORKERS.c.name == self.name)
        if engine.dialect.name != "sqlite":
            own_row = own_row.with_for_update(read=True, key_share=True)

        def look(connection: Connection) -> None:
            row = connection.execute(own_row).one_or_none()
            if row is None or row.ended is not None:
                self._lost.set()
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("ROLLBACK")
                raise LeaseLost(row.ended if row else "the study was removed")

        event.listen(engine, "begin", look)

    def _keep(self) -> None:
        while not self._left.wait(self._lease_seconds / RENEWALS):
            try:
                self._write()
            except Exception as error:
                # E.g. a full disk, or a server that is down: the next renewal may work.
                reason = str(error).partition("\n")[0]
                log.warning("the lease of %s could not be renewed: %s", self.name, reason)

    def _write(self, **values: Any) -> None:
        from search.storage.tables import WORKERS

        is_own = WORKERS.c.name == self.name
        with self._engine.begin() as connection:
            with self._lock:
                busy = self._busy_before
                if self._busy_since is not None:
                    busy += time.monotonic() - self._busy_since
                is_busy = self._busy_since is not None
                values |= {"busy_seconds": busy, "is_busy": is_busy}
            values["renewed"] = clock(connection)
            update = WORKERS.update().where(is_own, WORKERS.c.ended.is_(None)).values(**values)
            if connection.execute(update).rowcount == 0:
                self._lost.set()
        self._is_busy_stored = is_busy


def clock(connection: Connection) -> float:
    """Return the seconds since 1970 by the storage's clock, which all its workers share."""
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
    """Return the names of the workers whose leases have not ended."""
    from sqlalchemy import select

    from search.storage.tables import WORKERS

    here = select(WORKERS.c.name).where(WORKERS.c.study_id == study_id, WORKERS.c.ended.is_(None))
    return frozenset(connection.scalars(here))


def used_seconds(connection: Connection, study_id: int) -> tuple[float, int]:
    """Return the seconds that the study's workers have trained, and how many train now.

    The training of a killed worker after its last renewal is unknown and not counted.
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
            # Its engine knows how the worker ended, and is about to report it.
            engine = Process(row.supervisor_pid, row.supervisor_started).state()
            if engine == "gone" or row.supervisor_pid == row.pid or silent > row.lease_seconds:
                return "its process is gone"
            return None
        if state == "running":
            return None
    if silent <= row.lease_seconds:
        return None
    if row.host == ASKED:
        return f"not told or reported for {silent / 3600:.3g} h"
    return f"no heartbeat for {silent:.0f} s"


def _up_since(connection: Connection) -> float:
    """Return when the storage started: no lease could be renewed before."""
    from sqlalchemy import text

    if connection.dialect.name == "sqlite":
        return 0.0
    started = connection.scalar(text("SELECT extract(epoch FROM pg_postmaster_start_time())"))
    assert started is not None
    return float(started)
