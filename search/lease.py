"""Who is training a trial, and whether they still live.

A worker's mark is its host, process number and start time, so that a process that later got
the same number is not taken for it. On another host nothing can be said, and the worker
counts as alive.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

CLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Worker:
    """A process that trains."""

    host: str
    pid: int
    started: float

    @property
    def mark(self) -> str:
        """The worker in one line, for the storage.

        >>> Worker("node", 7, 1.5).mark
        'node 7 1.5'
        """
        return f"{self.host} {self.pid} {self.started}"

    @classmethod
    def from_mark(cls, mark: str) -> Worker:
        """Return the worker that `mark` names."""
        host, pid, started = mark.split(" ")
        return cls(host, int(pid), float(started))

    def is_alive(self) -> bool:
        """Say whether the process still runs, as far as this host can tell."""
        import psutil

        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            # The clock that start times are told by may have been set since.
            same = abs(process.create_time() - self.started) < CLOCK_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def this_worker() -> Worker:
    """Return the mark of the calling process."""
    import psutil

    pid = os.getpid()
    return Worker(socket.gethostname(), pid, psutil.Process(pid).create_time())
