"""Live output on a terminal: a running study's table, and the progress of one training.

Both leave the lines above them alone, and the last table stays on the screen. The cursor stays
visible, so nothing needs to be restored however the process ends.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from search.report.snapshot import Snapshot
from search.report.text import rough

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

REFRESH_SECONDS = 0.5
MAX_LOAD = 0.1  # share of one core, for a study of any size
# A busy database answers soon; a longer wait is reported.
STALE_SECONDS = 5.0


def is_live(stream: TextIO) -> bool:
    """Return whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class LiveTable:
    """Redraws a study's table about twice a second in its own thread, until the context exits.

    `take` is called in that thread, and a last time on exit. If it fails, the table stays, shows
    the error and tries again: a table that cannot be drawn must not stop a study.
    """

    def __init__(self, take: Callable[[], Snapshot], console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._take = take
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._notes: deque[str] = deque(maxlen=10)
        self._snapshot: Snapshot | None = None
        self._shown: Text | None = None
        self._taken = time.monotonic()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live table", daemon=True)

    def note(self, text: str) -> None:
        """Show a warning below the table, which keeps the last few."""
        self._notes.append(text)

    def line(self, text: str) -> None:
        """Print a line above the table, where it stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._open()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._left.set()
            self._thread.join()
            self._refresh()
        finally:
            self._close()

    def _open(self) -> None:
        self._live.start()
        self._console.show_cursor(True)

    def _close(self) -> None:
        self._live.stop()

    def _show(self, table: Text) -> None:
        self._live.update(table, refresh=True)

    def _run(self) -> None:
        seconds = 0.0
        while not self._left.wait(seconds):
            before = time.thread_time()
            self._refresh()
            seconds = max(REFRESH_SECONDS, (time.thread_time() - before) / MAX_LOAD)

    def _refresh(self) -> None:
        try:
            snapshot = self._take()
            self._draw(snapshot, list(self._notes))
        except Exception as error:  # any error is shown
            self._draw(self._snapshot, [*self._notes, *self._excuse(error)])
        else:
            self._snapshot, self._taken = snapshot, time.monotonic()

    def _excuse(self, error: Exception) -> list[str]:
        seconds = time.monotonic() - self._taken
        if seconds < STALE_SECONDS and not self._left.is_set():
            return []
        return [f"out of date for {rough(seconds)}: {type(error).__name__}: {error}"]

    def _draw(self, snapshot: Snapshot | None, notes: list[str]) -> None:
        from rich.text import Text

        from search.terminal.table import note_lines, study_table

        width, height = self._console.size
        height -= 1  # the cursor ends on the line below the table
        if snapshot is None:
            table = Text("\n").join(note_lines(notes, width, height))
        else:
            ascii_only = self._console.options.ascii_only
            table = study_table(snapshot, width, height, notes, ascii_only=ascii_only)
        if table != self._shown:
            self._show(table)
            self._shown = table


class RunProgress:
    """A progress bar below one line per validation; without a terminal, only the lines."""

    def __init__(self) -> None:
        self._progress = _progress_bar() if is_live(sys.stdout) else None

    def step(self, step: int, num_steps: int) -> None:
        """Move the bar to `step` optimizer steps of `num_steps`."""
        if self._progress is None:
            return
        (task,) = self._progress.tasks
        self._progress.update(task.id, completed=step, total=num_steps)
        left = task.time_remaining
        text = f"~{rough(left)} left" if left else ""
        self._progress.update(task.id, description=f"step {step} of {num_steps}", left=text)

    def point(self, text: str) -> None:
        """Print a line above the bar."""
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
            self._progress.console.show_cursor(True)
            self._progress.add_task("preparing", total=None, left="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _progress_bar() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    return Progress(*columns, refresh_per_second=4, transient=True)
