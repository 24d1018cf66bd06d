"""Wait while a disk is full, so that a run neither ends nor loses anything."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from lightning_modules.error import Problem, UserError, Verbatim
from lightning_modules.machine.file import DiskFull
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.hooks import Hooks

T = TypeVar("T")

RETRY_SECONDS = 3.0
POLL_SECONDS = 0.25
REMIND_SECONDS = 60.0
MAX_SECONDS = 3600.0


class StillFull(UserError):
    """A disk stayed full for so long that the run ended."""


def write_when_free(hooks: Hooks, write: Callable[[], T]) -> T:
    """Call `write` until the disk has space for it; return its result.

    It is for what a run cannot do without. The wait is said at its start and each minute.

    Raises:
        Stopped: The run was interrupted while it waited; the file is unchanged.
        StillFull: There was no space within an hour; the file is unchanged.

    """
    began: float | None = None
    said = 0.0
    while True:
        try:
            written = write()
            break
        except DiskFull as error:
            full = error
        now = monotonic()
        if began is None:
            began = said = now
            hooks.warn(f"{full}; waiting for space")
        elif now - began >= MAX_SECONDS:
            raise StillFull(_problem(full, now - began)) from full
        elif now - said >= REMIND_SECONDS:
            said = now
            hooks.warn(f"{full}; waiting for space since {_minutes(now - began)} min")
        _wait(hooks, f"interrupted, and {full.path.name} could not be written: {full}")
    if began is not None:
        hooks.warn("disk space is available again; resuming")
    return written


def _problem(full: DiskFull, seconds: float) -> Problem:
    rule = f"its disk must have space within {_minutes(seconds)} min"
    fix = "Free some, and run the same command to continue."
    return Problem(str(full.path), rule, Verbatim(full), fix)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"


def _wait(hooks: Hooks, reason: str) -> None:
    until = monotonic() + RETRY_SECONDS
    while monotonic() < until:
        hooks.heartbeat("waiting for disk space")
        if hooks.interrupted():
            raise Stopped(Ending.interrupted, reason)
        sleep(POLL_SECONDS)
