"""Processes of this machine: which one it is, how it fares, how it ends with all its children."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same number.

    Attributes:
        pid: Its number.
        started: Its start, in seconds since 1970.

    """

    pid: int
    started: float

    @classmethod
    def this(cls) -> Process:
        """Return the calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has this number now; one that is gone has the start 0."""
        import psutil

        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid, 0.0)

    def state(self) -> str:
        """Return `running`, `stopped` (by a signal, so that it may go on) or `gone`."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            # The clock that start times are told by may have been set since.
            if abs(process.create_time() - self.started) > CLOCK_SECONDS:
                return "gone"
            status = process.status()
        except psutil.NoSuchProcess:
            return "gone"
        if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return "gone"
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return "stopped" if status in stopped else "running"


def kill_tree(leader: int) -> None:
    """Kill a process that leads a session of its own, its group and its descendants.

    The group is killed even if its leader is gone: children outlive a killed parent.
    """
    import psutil

    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(leader).children(recursive=True)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def num_memory_kills() -> int:
    """Return how many processes the kernel has killed for want of memory, as far as it tells."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
