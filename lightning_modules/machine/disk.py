"""Wait while a disk is full, so that a run neither ends nor loses anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lightning_modules.machine.file import DiskFull
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from lightning_modules.hooks import Hooks

T = TypeVar("T")

RETRY_SECONDS = 3.0
POLL_SECONDS = 0.25


def write_when_free(hooks: Hooks, write: Callable[[], T]) -> T:
    """Call `write` until the disk has space for it; return its result.

    Raises:
        Stopped: The run was interrupted while it waited; the file is unchanged.

    """
    has_waited = False
    while True:
        try:
            written = write()
            break
        except DiskFull as full:
            problem, name = str(full), full.path.name
        if not has_waited:
            hooks.warn(f"{problem}; waiting for space")
            has_waited = True
        _wait(hooks, f"interrupted, and {name} could not be written: {problem}")
    if has_waited:
        hooks.warn("disk space is available again; resuming")
    return written


def _wait(hooks: Hooks, reason: str) -> None:
    until = time.monotonic() + RETRY_SECONDS
    while time.monotonic() < until:
        hooks.heartbeat("waiting for disk space")
        if hooks.interrupted():
            raise Stopped(Ending.interrupted, reason)
        time.sleep(POLL_SECONDS)
