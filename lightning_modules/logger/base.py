"""What every logger gives: an open log for one attempt at a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_modules.schema import Schema

JobType = Literal["trial", "run", "study"]


@dataclass(frozen=True)
class Identity:
    """What an attempt, or a study as a whole, is called.

    Attributes:
        name: The run's name, as `trial 3`.
        group: The study's name; None for a run of its own.
        folder: Where the logger may keep files.
        job_type: `trial` of a study, `run` of its own, or the `study` itself.
        tags: Words to find it by.

    """

    name: str
    group: str | None
    folder: Path
    job_type: JobType = "run"
    tags: tuple[str, ...] = ()


class RunLog:
    """An open log; this one keeps nothing.

    No method raises, and none hangs for long: a run never fails for its log. Tables, charts and
    images have no step, and come after the last `log`.
    """

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add named values at an optimizer step."""

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows of plain values; every column of any row is one, None where a row has none."""

    def line(
        self, name: str, rows: Sequence[Mapping[str, Any]], x: str, ys: Sequence[str], title: str
    ) -> None:
        """Draw a line for each column of `ys` over column `x`, past what is None."""

    def bars(
        self, name: str, rows: Sequence[Mapping[str, Any]], label: str, value: str, title: str
    ) -> None:
        """Draw a bar a row: its name in column `label`, its length in column `value`."""

    def images(self, name: str, paths: Sequence[Path]) -> None:
        """Show PNG files, each under its file's name."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and close."""


@dataclass(frozen=True, kw_only=True)
class Logger(Schema):
    """A logger."""

    def open(
        self,
        identity: Identity,
        config: Mapping[str, Any],
        note: Callable[[str], None] = lambda text: None,
    ) -> RunLog:
        """Return an open log for one attempt.

        Args:
            identity: What the attempt is called.
            config: Its values, flat.
            note: Hears what a person should read, as that the log is not complete.

        """
        return RunLog()
