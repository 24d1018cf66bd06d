"""Processes of this machine: which one it is, how it fares, how it ends with all its children."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same number.

    Attributes:
        pid: Its number.
        started: Its start by a clock of its own; only whether two are equal tells anything.

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
        return cls(pid, _start_of(pid) or 0.0)

    def state(self) -> str:
        """Return `running`, `stopped` (by a signal, so that it may go on) or `gone`."""
        import psutil

        if _start_of(self.pid) != self.started:
            return "gone"
        try:
            status = psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return "gone"
        if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return "gone"
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return "stopped" if status in stopped else "running"


def _start_of(pid: int) -> float | None:
    """Return when a process started, None where there is none.

    Linux counts it from the boot of the machine. Told as a time of day it would move whenever the
    clock is set, and a process that lives be taken for another one.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        # Its name, in brackets, may hold anything; the 20th word after it is the start.
        return float(
            stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (ProcessLookupError, FileNotFoundError):
        if Path("/proc/self/stat").exists():
            return None
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


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
