"""Files that are read more than once must not change in between."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.error import DataError, Problem, Verbatim

State = tuple[int, int, int]


def state_of(path: Path) -> State:
    """Return what changes if a file is written or replaced."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def check_unchanged(path: Path, state: State) -> None:
    """Raise DataError if a file is not in a state that it was in."""
    if not path.is_file() or state_of(path) != state:
        rule, fix = "must not change while it is read", "Run the command again."
        raise DataError(Problem(str(path), rule, Verbatim("another file"), fix))
