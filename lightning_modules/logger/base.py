"""What every logger gives: an open log for one attempt at a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.schema import Schema


@dataclass(frozen=True)
class Identity:
    """What an attempt is called.

    Attributes:
        name: The run's name, as `trial 3`.
        group: The study's name; None for a run of its own.
        folder: Where the logger may keep files.

    """

    name: str
    group: str | None
    folder: Path


class RunLog:
    """An open log; this one keeps nothing."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add named values at an optimizer step."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and close; never raises, never hangs for long."""


@dataclass(frozen=True, kw_only=True)
class Logger(Schema):
    """A logger."""

    def open(self, identity: Identity, config: Mapping[str, Any]) -> RunLog:
        """Return an open log for one attempt; `config` is flat."""
        return RunLog()
