"""The events that workers send, each written as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from lightning_modules.outcome import Ending
from search.storage.attempt_end import AttemptEnd


class ExitCode(IntEnum):
    """Exit codes of a worker's process; any other code is a crash or a signal."""

    finished = 0
    failed = 1
    wrong_input = 2
    replace = 75  # unfit for another trial; start a new process


@dataclass(frozen=True)
class Joined:
    """A worker has joined the study under its name."""

    worker: str


@dataclass(frozen=True)
class Alive:
    """A heartbeat of a worker, with its activity, which shows the engine that it does not hang."""

    doing: str


@dataclass(frozen=True)
class Began:
    """An attempt started."""

    number: int
    attempt: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """An attempt has its data and network, and starts to train on `hardware`.

    Attributes:
        number: The trial's number.
        hardware: Device and precision, and why.
        strategy: The strategy's option, e.g. `lora`.
        num_trainable: Trainable parameters.
        num_parameters: All parameters.

    """

    number: int
    hardware: str
    strategy: str
    num_trainable: int
    num_parameters: int


@dataclass(frozen=True)
class Progressed:
    """An attempt was validated; `value` is the objective there."""

    number: int
    epoch: float
    value: float
    seconds: float


@dataclass(frozen=True)
class Ended:
    """An attempt ended; `value` is the objective of a finished one."""

    number: int
    ending: Ending
    reason: str
    value: float | None
    seconds: float


@dataclass(frozen=True)
class Note:
    """A message for people."""

    text: str


Event = Joined | Alive | Began | Prepared | Progressed | Ended | Note

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (Joined, Alive, Began, Prepared, Progressed, Ended, Note)
}


def event_of(end: AttemptEnd) -> Event:
    """Return the event of an attempt that failed."""
    if end.ending is not None:
        return Ended(end.number, end.ending, end.verdict, None, 0.0)
    attempt = f" attempt {end.attempt}" if end.attempt else ""
    return Note(f"trial {end.number}{attempt} ended: {end.reason}; it will be retried")


def to_line(event: Event) -> str:
    """Return the event as one line.

    >>> from_line(to_line(Note("hello")))
    Note(text='hello')
    """
    values = {"event": type(event).__name__, **asdict(event)}
    return json.dumps(values, default=_plain) + "\n"


def from_line(line: str) -> Event:
    """Return the event that `to_line` wrote."""
    values = json.loads(line)
    if "ending" in values:
        values["ending"] = Ending(values["ending"])
    event: Event = _KINDS[values.pop("event")](**values)
    return event


def _plain(value: object) -> Any:
    assert isinstance(value, Ending), value
    return value.value
