"""Folders for what is not finished. Those that a killed process left can be told and removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from search.machine.lock import InUse, locked


@contextmanager
def drafted(folder: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in another one, which is removed at the end.

    Args:
        folder: The folder that it is in.
        prefix: The start of its name.

    """
    with TemporaryDirectory(prefix=prefix, dir=folder) as draft, locked(Path(draft)):
        yield Path(draft)


def remove_left(folder: Path, prefix: str) -> None:
    """Remove the folders of `drafted` whose processes were killed."""
    for draft in folder.glob(f"{prefix}*"):
        with suppress(InUse, FileNotFoundError), locked(draft):
            shutil.rmtree(draft, ignore_errors=True)
