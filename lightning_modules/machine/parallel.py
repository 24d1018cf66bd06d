"""Whether `tokenizers` uses all cores: within a block, unless the user says no.

Its threads do not survive a fork, so commands switch them off for the processes that they fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

VARIABLE = "TOKENIZERS_PARALLELISM"
OFF = "oFF"
"""What commands set it to, which means no, too, and is not the `false` or `off` of users."""
_NO = ("", "off", "false", "f", "no", "n", "0")


@contextmanager
def on_all_cores(warn: Callable[[str], None]) -> Iterator[None]:
    """Let `tokenizers` use all cores, as other workers wait for the same rows or have theirs.

    Only within the block, and not in a process that was forked from one in which it was run: both
    would wait for ever for threads that a fork does not have.

    Args:
        warn: Told if the user has set `TOKENIZERS_PARALLELISM` to no, which is done.

    """
    before = os.environ.get(VARIABLE)
    if before not in (None, OFF):
        if before.lower() in _NO:
            warn(
                f"many rows are tokenized on one core: {VARIABLE} is {before!r} in the environment"
            )
        yield
        return
    if _process_with_threads() != os.getpid():
        yield
        return
    os.environ[VARIABLE] = "true"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


@lru_cache(maxsize=1)
def _process_with_threads() -> int:
    """Return the process that first asked, which starts the threads; its forks remember it."""
    return os.getpid()
