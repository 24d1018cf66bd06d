"""Stop a sweep after several failures in a row: their cause is probably not the trials."""

from __future__ import annotations

from lightning_modules.outcome import Ending
from search.worker.event import Ended, Event

MAX_FAILURES = 3


class Breaker:
    """Counts consecutive failed trials of a sweep, over all workers."""

    def __init__(self) -> None:
        self._num_failures = 0

    def reason_to_stop(self, event: Event) -> str | None:
        """Count an event; return why to stop the sweep, once."""
        if not isinstance(event, Ended) or event.ending is Ending.interrupted:
            return None
        self._num_failures = self._num_failures + 1 if event.ending is Ending.failed else 0
        if self._num_failures != MAX_FAILURES:
            return None
        return f"stopping the sweep: {MAX_FAILURES} trials in a row failed: {event.reason}"
