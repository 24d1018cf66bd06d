"""When the next checkpoint is due.

`every` seconds after the last one, or so much later that the seconds `cost` which that one took are
at most a share `s` of the time: max(every, cost / s).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STRETCHED = 2.0
"""It is said again if the interval becomes more than this many times as long."""


def interval_seconds(every: float, cost: float, max_share: float | None) -> float:
    """Return the seconds from the end of a checkpoint that took `cost` to the next one.

    >>> interval_seconds(60, 1, 0.05), interval_seconds(60, 12, 0.05)
    (60, 240.0)
    """
    return every if max_share is None else max(every, cost / max_share)


class Interval:
    """Measures what checkpoints cost, and says when the next one is due.

    Args:
        every: `trainer.checkpoint_seconds`.
        max_share: `trainer.checkpoint_share`.
        say: Receives a line for the user if checkpoints are less frequent than `every`.

    """

    def __init__(self, every: float, max_share: float | None, say: Callable[[str], None]) -> None:
        self.seconds = every
        self._every = every
        self._max_share = max_share
        self._say = say
        self._said = every
        self._last = time.monotonic()

    def start(self) -> None:
        """Count from now."""
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._last >= self.seconds

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure what making a checkpoint inside the block costs, even if it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._last = time.monotonic()
            self.set_cost(self._last - began)

    def set_cost(self, cost: float) -> None:
        """Set the seconds that the last checkpoint took."""
        self.seconds = interval_seconds(self._every, cost, self._max_share)
        if self.seconds > self._said:
            self._said = STRETCHED * self.seconds
            self._say(
                f"a checkpoint took {cost:.2g} s: one is saved every {self.seconds:.0f} s instead "
                f"of trainer.checkpoint_seconds={self._every:g}, so that they take at most "
                f"{self._max_share:.0%} of the time"
            )
