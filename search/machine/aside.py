"""Remove a folder so that it is there completely or not at all, even if the process is killed.

It is moved out of sight first, which happens at once, and then its files are deleted. If that was
interrupted, `remove` continues it.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

ASIDE = ".deleted"


def aside_of(folder: Path) -> Path:
    """Return where a folder is put before its files are deleted."""
    return folder.parent / ASIDE / folder.name


def put_aside(folder: Path) -> None:
    """Move a folder out of sight, unless it is no longer there."""
    aside = aside_of(folder)
    if folder.is_dir():
        shutil.rmtree(aside, ignore_errors=True)  # of an earlier one of the same name
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)


def remove(folder: Path) -> None:
    """Remove a folder, or what is left of it.

    Raises:
        OSError: A file could not be deleted; the folder is out of sight, and can be removed again.

    """
    put_aside(folder)
    aside = aside_of(folder)
    if aside.is_dir():
        shutil.rmtree(aside)
    with suppress(OSError):  # others may be there
        aside.parent.rmdir()


def disk_bytes(folder: Path) -> int:
    """Return the bytes of all files of a folder, or of what is left of it; each file once."""
    sizes = {}
    for top in (folder, aside_of(folder)):
        for path in top.rglob("*"):
            with suppress(OSError):  # it may vanish meanwhile
                found = path.lstat()
                if not S_ISDIR(found.st_mode):
                    sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())
