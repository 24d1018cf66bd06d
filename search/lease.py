"""Who is training a trial, and whether they still live.

A worker's mark is its host, process number and start time, so that a process that later got
the same number is not taken for it. On another host nothing can be said, and the worker
counts as alive.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Worker:
    """A process that trains."""

    host: str
    pid: int
    started: float

    def as_dict(self) -> dict[str, Any]:
        """Return the mark as plain values, for the storage."""
        return asdict(self)

    def is_alive(self) -> bool:
        """Say whether the process still runs, as far as this host can tell."""
        import psutil

        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != "zombie"
        except psutil.NoSuchProcess:
            return False


def this_worker() -> Worker:
    """Return the mark of the calling process."""
    import psutil

    pid = os.getpid()
    return Worker(socket.gethostname(), pid, psutil.Process(pid).create_time())
