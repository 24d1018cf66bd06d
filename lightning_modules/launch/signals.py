"""Signals that the other ranks leave to rank 0, which gets them too and decides.

Schedulers send some to every process of a step, also to a rank that is still importing: so it
starts with them blocked, and one that arrives before it ignores them is dropped then.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def blocked() -> Iterator[None]:
    """Block the signals in this thread, and in processes that it starts inside the context."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignore the signals in this process, which was started with them blocked."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
