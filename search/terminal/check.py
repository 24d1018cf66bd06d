"""Check data with a progress bar on a terminal; otherwise without a word until the report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from lightning_modules.machine.file import write_json
from lightning_modules.quality.check import check_data, quick_report
from lightning_modules.quality.conflict import Conflicts
from lightning_modules.quality.finding import quiet
from lightning_modules.quality.report import Report
from lightning_modules.run import Run
from search.machine.quiet import quiet_training
from search.report.results import CHECK_FILE
from search.report.text import rough
from search.terminal.live import is_live

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rich.progress import Progress

    from lightning_modules.rows.corpus import Corpus
    from lightning_modules.task.base import Task


def checked_data(run: Run, *, show: bool) -> Report:
    """Return the report on a run's data; `show` draws a bar if stderr is a terminal."""
    quiet_training()
    if not show or not is_live(sys.stderr):
        return check_data(run, quiet)
    with CheckProgress() as progress:
        return check_data(run, progress.say)


def quick_lines(corpus: Corpus, task: Task, folder: Path) -> list[str]:
    """Check a study's rows quickly and keep the report in its folder; return what to say."""
    report = quick_report(corpus, task)
    write_json(folder / CHECK_FILE, report.as_dict())
    # Conflicts are a note of the data set already.
    faults = [each for each in report.faults if not isinstance(each, Conflicts)]
    if not faults:
        return []
    left_out = [f"{what}: {why}" for what, why in report.left_out.items()]
    return [f"check   {line}" for line in (*(each.line() for each in faults), *left_out)]


class CheckProgress:
    """A bar that says what is being looked for."""

    def __init__(self) -> None:
        self._progress = _bar()
        self._task = self._progress.add_task("reading", total=None, left="")

    def say(self, doing: str, done: int, total: int) -> None:
        """Show what is being done, and how much of it is done; a total of 0 is unknown."""
        task = self._progress.tasks[0]
        if task.description != doing:
            self._progress.reset(self._task)
        self._progress.update(self._task, description=doing, completed=done, total=total or None)
        left = task.time_remaining
        self._progress.update(self._task, left=f"~{rough(left)} left" if left else "")

    def __enter__(self) -> Self:
        self._progress.start()
        self._progress.console.show_cursor(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
    return Progress(*columns, console=Console(stderr=True), transient=True)
