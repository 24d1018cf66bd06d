"""What a running sweep shows: a live table on a terminal, otherwise one line per event."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lightning_modules.outcome import Ending
from search.report.results import snapshot, write_table
from search.report.text import duration, score, settings, trained
from search.storage.retry import StorageGone
from search.study.study import Study
from search.terminal.live import LiveTable, is_live
from search.terminal.notebook import NotebookTable, in_notebook
from search.worker.event import Began, Ended, Event, Note, Prepared, Progressed

QUIET_SECONDS = 10.0


@contextmanager
def shown(study: Study) -> Iterator[Callable[[Event], None]]:
    """Yield a receiver of the workers' events that shows them and keeps `trials.csv` current."""
    if in_notebook():
        with NotebookTable(lambda: snapshot(study)) as table:
            yield TableEvents(study, table)
    elif is_live(sys.stdout):
        with LiveTable(lambda: snapshot(study)) as table:
            yield TableEvents(study, table)
    else:
        yield LineEvents(study)


def printing(*, show: bool) -> Callable[..., Any]:
    """Return `print`, or a function that takes what it takes and prints nothing."""
    return print if show else lambda *_, **__: None


@contextmanager
def quiet(study: Study) -> Iterator[Callable[[Event], None]]:
    """Yield a receiver that shows nothing and keeps `trials.csv` current."""

    def keep(event: Event) -> None:
        if isinstance(event, Ended):
            _keep_table(study, event)

    yield keep


class StartLines:
    """The lines on the device and the strategies that start to train, each only once."""

    def __init__(self) -> None:
        self._hardware = ""
        self._strategies: set[str] = set()

    def lines(self, event: Prepared) -> Iterator[str]:
        """Yield the lines that no earlier trial had."""
        if event.hardware != self._hardware:
            self._hardware = event.hardware
            yield f"device  {event.hardware}"
        if event.strategy not in self._strategies:
            self._strategies.add(event.strategy)
            yield trained(event.strategy, event.num_trainable, event.num_parameters)


class TableEvents:
    """Shows the events that the live table does not: start lines, warnings and failures."""

    def __init__(self, study: Study, table: LiveTable) -> None:
        self._study = study
        self._table = table
        self._start_lines = StartLines()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Prepared):
            for line in self._start_lines.lines(event):
                self._table.line(line)
        elif isinstance(event, Note):
            self._table.note(event.text)
        elif isinstance(event, Ended):
            if event.ending in (Ending.failed, Ending.diverged):
                self._table.note(f"trial {event.number} {event.ending.value}: {event.reason}")
            _keep_table(self._study, event)


class LineEvents:
    """Prints one line per event that matters."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._values: dict[int, str] = {}
        self._start_lines = StartLines()
        self._last_line = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Began):
            self._values[event.number] = settings(event.values)
        elif isinstance(event, Prepared):
            for line in self._start_lines.lines(event):
                self._print(line)
        elif isinstance(event, Progressed):
            self._progressed(event)
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, Note):
            self._print(event.text)

    def _progressed(self, event: Progressed) -> None:
        # Short trials need no lines besides the one at their end.
        if time.monotonic() - self._last_line >= QUIET_SECONDS:
            name = self._study.plan.objectives[0].short
            self._print(
                f"trial {event.number:3d}  epoch {event.epoch:g}  {name} {score(event.value)}"
            )

    def _ended(self, event: Ended) -> None:
        leading = self._study.plan.objectives[0]
        if event.value is not None:
            best = "  best" if self._is_best(event.number) else ""
            result = f"{leading.short} {score(event.value)}{best}"
        else:
            result = f"{event.ending.value}: {event.reason}"
        took = duration(event.seconds)
        values = self._values.get(event.number, "")
        self._print(f"trial {event.number:3d}  {values}  {took}  {result}")
        _keep_table(self._study, event)

    def _is_best(self, number: int) -> bool:
        with suppress(StorageGone):
            best = self._study.best
            return best is not None and best.number == number
        return False

    def _print(self, line: str) -> None:
        print(line, flush=True)
        self._last_line = time.monotonic()


def _keep_table(study: Study, event: Ended) -> None:
    if event.ending is Ending.interrupted:
        return
    # The table is written again at the end: a full disk or an unreachable storage must not stop a
    # sweep here.
    with suppress(StorageGone, OSError):
        write_table(study)
