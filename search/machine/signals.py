"""Signals that request a stop: handlers only set a flag for the training loop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

# Ctrl-C, a plain kill, and the warnings of schedulers such as Slurm before the time limit, which
# users set to SIGUSR1 or, for every process of a step, to SIGUSR2.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def exit_code(number: int) -> int:
    """Return 130 for Ctrl-C, 143 for any other signal."""
    return 130 if number == signal.SIGINT else 143


def restore_handlers(handlers: Mapping[int, Any]) -> None:
    """Restore what `signal.signal` returned, except handlers that were not set from Python."""
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)


class Interrupt:
    """Set by the first of `SIGNALS`; the second one ends the process at once, by default.

    As a context manager it restores the previous handlers, and also uses them for the second
    signal: in a notebook that raises KeyboardInterrupt instead of ending the kernel. Outside the
    main thread, where Python delivers no signals, it is never set.

    Args:
        ends_at_second: Whether the second signal ends the process. Not that of a worker: schedulers
            signal every process of a step, and the engine, which is one of them, asks it once more.

    """

    def __init__(self, *, ends_at_second: bool = True) -> None:
        self.number: int | None = None
        self._ends_at_second = ends_at_second
        self._before: dict[int, Any] = {}
        self._second: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)

    def __enter__(self) -> Self:
        self._second = self._before
        return self

    def __exit__(self, *_: object) -> None:
        restore_handlers(self._before)

    def __call__(self) -> bool:
        """Return whether a signal was received."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after another signal, 0 after none."""
        return 0 if self.number is None else exit_code(self.number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        elif self._ends_at_second:
            signal.signal(number, self._second.get(number, signal.SIG_DFL))
            os.kill(os.getpid(), number)
