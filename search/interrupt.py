"""Signals that ask to stop: a flag for the training loop, never work inside a handler."""

from __future__ import annotations

import os
import signal
from types import FrameType


class Interrupt:
    """Set by the first SIGINT or SIGTERM; the second one ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def __call__(self) -> bool:
        """Say whether a signal has come."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, 0 without any."""
        return 0 if self.number is None else 128 + self.number

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.number = number
