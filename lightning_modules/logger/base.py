"""The base class of loggers: each opens a log for one attempt at a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_modules.schema import Schema

JobType = Literal["trial", "run", "study"]


@dataclass(frozen=True)
class Identity:
    """The name of an attempt or of a whole study.

    Attributes:
        name: The run's name, e.g. `trial 3`.
        group: The study's name; None for a single run.
        folder: Folder for the logger's files.
        job_type: `trial` for a study's trial, `run` for a single run, `study` for a whole study.
        tags: Search tags.

    """

    name: str
    group: str | None
    folder: Path
    job_type: JobType = "run"
    tags: tuple[str, ...] = ()


class RunLog:
    """An open log; this one records nothing.

    No method raises or blocks for long, so a run never fails because of its log. Tables and
    charts have no step and come after the last `log`.
    """

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add named values at an optimizer step."""

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows of plain values as a table with all rows' columns; missing cells are None."""

    def line(
        self, name: str, rows: Sequence[Mapping[str, Any]], x: str, ys: Sequence[str], title: str
    ) -> None:
        """Draw a line for each column of `ys` over column `x`, skipping None."""

    def bars(
        self, name: str, rows: Sequence[Mapping[str, Any]], label: str, value: str, title: str
    ) -> None:
        """Draw one bar per row, named by column `label`, with the length in column `value`."""

    def files(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """Keep copies of files or folders under one name, e.g. a report; `kind` says what it is."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and close."""


class Logs:
    """The logs that a process opens in one folder, one after the other."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def open(
        self, identity: Identity, config: Mapping[str, Any], note: Callable[[str], None]
    ) -> RunLog:
        """Return an open log for one attempt, as `Logger.open` does."""
        return self._logger.open(identity, config, note)

    def close(self, *, in_a_hurry: bool = False) -> list[str]:
        """Wait a bounded time for what is still being sent; return what a person should know."""
        return []

    def unsent(self) -> list[str]:
        """Return what a person should know of logs that earlier processes did not send."""
        return []


@dataclass(frozen=True, kw_only=True)
class Logger(Schema):
    """A logger."""

    def start(self, folder: Path) -> Logs:
        """Return the logs of a process in a folder: a study's, or that of a single run."""
        return Logs(self)

    def forget_failure(self, folder: Path) -> None:
        """Send the logs of a folder again, although an earlier command could not send them."""

    def open(
        self,
        identity: Identity,
        config: Mapping[str, Any],
        note: Callable[[str], None] = lambda text: None,
    ) -> RunLog:
        """Return an open log for one attempt.

        Args:
            identity: The attempt's name and folder.
            config: The run's configuration, flat.
            note: Receives messages for the user, e.g. that the log is incomplete.

        """
        return RunLog()

    @property
    def keeps_model(self) -> bool:
        """Whether the study's own log is to have its winner's exported model."""
        return False

    def study_notes(self) -> list[str]:
        """Return what to know before a study logs its trials here, a line each."""
        return []
