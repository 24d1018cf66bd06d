"""Processes on this machine: identify one, read its state, kill it with all its children."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, distinguished from a later one with the same PID.

    Attributes:
        pid: Its PID.
        started: Its start time on an arbitrary clock; only for equality.

    """

    pid: int
    started: float

    @classmethod
    def this(cls) -> Process:
        """Return the calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has this PID now; `started` is 0 if there is none."""
        return cls(pid, _start_of(pid) or 0.0)

    def state(self) -> str:
        """Return `running`, `stopped` (by a signal, so it may continue) or `gone`."""
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
    """Return when a process started; None if there is none.

    On Linux in clock ticks since boot. As a time of day it would change whenever the clock is set,
    and a live process would be mistaken for another one.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        # The name, in parentheses, may contain anything; the 20th field after it is the start.
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
    """Kill a session leader with its process group and its descendants.

    The group is killed even if its leader is gone, because children outlive a killed parent.
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
    """Return how many processes the kernel has killed to free memory; 0 if unknown."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
