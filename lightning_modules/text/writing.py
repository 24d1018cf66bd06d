"""How much of a run's time the network takes to write texts in its validations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_SHARE = 0.2
"""Above this share of the time, writing is said to take long."""
MIN_SECONDS = 30.0
"""Of a run so far; before, the start of its first steps distorts the share."""


class Writing:
    """Measures the time of writing, and says once if it takes long.

    Args:
        now: Returns the run's time in seconds.

    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self._seconds = 0.0
        self._is_said = False

    def start(self) -> None:
        """Count from now."""
        self._began = self._now()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count the time inside the block as that of writing."""
        began = self._now()
        yield
        self._seconds += self._now() - began

    def notes(self, num_written: int) -> Iterator[str]:
        """Yield a line if writing takes long, once.

        Args:
            num_written: For how many rows the network writes in each validation.

        """
        whole = self._now() - self._began
        if self._is_said or not num_written or whole < MIN_SECONDS:
            return
        share = self._seconds / whole
        if share > MAX_SHARE:
            self._is_said = True
            yield (
                f"writing texts for {num_written} validation rows takes {share:.0%} of the time; a "
                "lower task.num_generated, task.max_new_tokens or trainer.validations_per_epoch "
                "saves some"
            )
