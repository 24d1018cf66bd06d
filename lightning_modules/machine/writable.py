"""Whether a folder can be written, tried before a run needs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import FULL


def check_writable(folder: Path, where: str, fix: str) -> None:
    """Raise ConfigError unless files can be written below a folder; leave nothing behind.

    A full disk is no reason: what a run cannot do without waits for space.

    Args:
        folder: The folder; it need not exist yet.
        where: The setting that names it.
        fix: What to do if it cannot be written.

    """
    reason = refusal(folder)
    if reason is not None:
        got = Verbatim(f"{folder.absolute()} ({reason})")
        raise ConfigError(Problem(where, "must be a folder that can be written", got, fix))


def refusal(folder: Path) -> str | None:
    """Return why nothing can be written below a folder; None if something can.

    >>> refusal(Path("/proc/x"))
    'No such file or directory'
    """
    try:
        nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        # Permissions alone do not tell: a disk may be read-only, and root may do almost anything.
        with tempfile.TemporaryDirectory(dir=nearest, prefix=".finesweep-"):
            return None
    except OSError as error:
        return None if error.errno in FULL else os.strerror(error.errno or 0)
