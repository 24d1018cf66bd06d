"""A folder that one process at a time works in.

The lock belongs to the process, so one that was killed holds none: nothing is left to clean up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InUse(Exception):
    """Another process works in the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder that exists.

    Raises:
        InUse: Another process has locked it.

    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(str(folder)) from None
        except OSError:
            pass  # a network disk that cannot lock folders
        yield
    finally:
        os.close(descriptor)
