"""The base of every finding: a value with one line of text, details below it, and JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any, ClassVar

Say = Callable[[str, int, int], None]
"""Receives what is being done, how much of it is done, and how much there is; 0 if unknown."""

MAX_SHOWN = 90  # characters of a text
NUM_SHOWN = 5
"""Rows that are shown per finding; the JSON has the others."""
MAX_LISTED = 10_000
"""Most rows, pairs or groups of a finding in the JSON."""


def quiet(doing: str, done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Finding(ABC):
    """One thing that a check looked for."""

    name: ClassVar[str]
    """Key of the finding in the JSON, and its first word in the terminal."""

    @property
    @abstractmethod
    def is_fault(self) -> bool:
        """Whether something was found that is worth reading before training."""

    @abstractmethod
    def line(self) -> str:
        """Return what was found, in one line."""

    def details(self) -> Iterator[str]:
        """Yield lines with a few examples."""
        return iter(())

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"line": self.line(), "is_fault": self.is_fault, **asdict(self)}


@dataclass(frozen=True)
class Place:
    """A row, and where it is.

    Attributes:
        split: Its split.
        where: Its file or split, and its number there, counted from 1 without a header.
        text: Its text.
        label: Its label as text; None if it has none.

    """

    split: str
    where: str
    text: str
    label: str | None = None

    def __str__(self) -> str:
        label = "" if self.label is None else f" [{shown(self.label, 30)}]"
        return f"{self.where} ({self.split}){label}: {shown(self.text)}"


def shown(text: str, width: int = MAX_SHOWN) -> str:
    """Return a text in one line, shortened; it may contain terminal control characters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * width])
    return shorten(plain, width, placeholder=" …") if " " in plain.strip() else plain[:width]


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun.

    >>> count(1, "row"), count(2_000, "row"), count(2, "class", "classes")
    ('1 row', '2,000 rows', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
