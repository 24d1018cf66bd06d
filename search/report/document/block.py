"""What a report consists of, apart from how it looks: sections of texts, tables and figures.

`html` and `markdown` write the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.report.document.chart import Chart


@dataclass(frozen=True)
class Text:
    """A paragraph; if `is_note`, one that qualifies what stands before it."""

    text: str
    is_note: bool = False


@dataclass(frozen=True)
class Code:
    """Text to copy, with what it is."""

    title: str
    text: str


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of cells as text.

    Attributes:
        title: What it shows.
        head: The names of the columns.
        rows: The cells.
        marked: The rows that stand out, by number.

    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A chart with its caption, and its numbers as a table for those who cannot see it."""

    chart: Chart
    caption: str
    table: Table | None = None


@dataclass(frozen=True)
class Fold:
    """Blocks that are closed at first, on a page that can open them."""

    title: str
    blocks: Sequence[Block]


Block = Text | Code | Facts | Table | Figure | Fold


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: Its place in the page's address, e.g. `history`.
        title: Its heading.
        blocks: What it has.
        is_brief: Whether the Markdown has it too, which is to fit into a message.

    """

    key: str
    title: str
    blocks: Sequence[Block]
    is_brief: bool = False
