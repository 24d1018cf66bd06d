"""The dialect of a delimited file: how a text is cut into rows, and rows into cells."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lightning_modules.data.file.backslash import escaped_rows

DOUBLE, SINGLE = '"', "'"
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "pipes", " ": "spaces"}
MAX_FIELD = 2**31 - 1  # a document can exceed the module's default of 128 KiB


@dataclass(frozen=True)
class Dialect:
    """How lines are cut into cells.

    Attributes:
        delimiter: The character between cells.
        quote: The quote around cells that hold a delimiter; None if quotes are text.
        is_escaped: Whether a backslash, and not a second quote, is before a quote in a cell; if
            there are no quotes, whether cells are those of `backslash`.
        num_cells: Cells of a line, of which the last takes the rest; None cuts everywhere.

    """

    delimiter: str
    quote: str | None
    is_escaped: bool = False
    num_cells: int | None = None

    def __str__(self) -> str:
        name = _NAMES.get(self.delimiter, repr(self.delimiter))
        if self.quote is None and self.is_escaped:
            return f"{name}, backslashes and no quoting"
        escaped = " after backslashes" if self.is_escaped else ""
        return f"{name}, {'no quoting' if self.quote is None else f'quotes {self.quote}{escaped}'}"


@dataclass(frozen=True)
class Cut:
    """A text cut into rows.

    Attributes:
        dialect: How it was cut; None for the rows of a sheet.
        rows: The cells of each row; blank lines are left out.
        lines: The line on which each row starts, counted from 1.
        ends: The line on which each row ends.
        error: Why the text after the rows cannot be cut; None if there is none.
        error_line: The line on which that begins.

    """

    dialect: Dialect | None
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    ends: Sequence[int]
    error: str | None = None
    error_line: int = 0

    @cached_property
    def lengths(self) -> Counter[int]:
        """How many rows have how many cells."""
        return Counter(map(len, self.rows))

    @cached_property
    def has_row_names(self) -> bool:
        """Whether each row begins with its own number, which the header has no name for.

        R's `write.table` and pandas with `index_label=False` write so. Between commas, text with
        an unquoted one in each row would look the same.
        """
        if self.dialect is None or self.dialect.delimiter not in "\t " or len(self.rows) < 3:
            return False
        width = len(self.rows[0]) + 1
        numbers = {cells[0] for cells in self.rows[1:] if len(cells) == width}
        return len(numbers) == len(self.rows) - 1 and all(map(str.isdecimal, numbers))

    def share(self, num_named: int | None) -> float:
        """Return the share of the rows that have a cell for each name.

        Args:
            num_named: How many names the user gave; None takes the cells of the first row.

        """
        if not self.rows:
            return 0.0
        if num_named is None and self.has_row_names:
            fitting = len(self.rows)
        elif num_named is None:
            fitting = sum(fits_header(row, self.rows[0]) for row in self.rows)
        elif self.lengths.most_common(1)[0][0] != num_named:
            return 0.0
        else:
            fitting = sum(num for length, num in self.lengths.items() if length >= num_named)
        return fitting / (len(self.rows) + (self.error is not None))


def cut(text: str, dialect: Dialect) -> Cut:
    """Return the rows of a text."""
    rows: list[Sequence[str]] = []
    lines: list[int] = []
    ends: list[int] = []
    line = 0
    try:
        for start, end, cells in _rows(text, dialect):
            line = end
            if cells:
                rows.append(cells)
                lines.append(start)
                ends.append(end)
    except csv.Error as error:
        return Cut(dialect, rows, lines, ends, str(error), line + 1)
    return Cut(dialect, rows, lines, ends)


def fits_header(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a row has a cell for each name, but for empty ones at the ends of either.

    >>> fits_header(["fine", "4", ""], ["text", "label"])
    True
    >>> fits_header(["fine"], ["text", "label"])
    False
    """
    if len(cells) == len(header):
        return True
    return used_length(header) <= len(cells) and used_length(cells) <= len(header)


def used_length(cells: Sequence[str]) -> int:
    """Return the number of cells up to the last that is not empty; at least 1."""
    length = len(cells)
    while length > 1 and not cells[length - 1].strip():
        length -= 1
    return length


def lines_of(text: str) -> list[str]:
    """Return the lines of a text; other Unicode line ends stay in their line."""
    if "\n" not in text:
        return text.split("\r")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _rows(text: str, dialect: Dialect) -> Iterator[tuple[int, int, Sequence[str]]]:
    """Yield each row's first line, last line and cells; raises csv.Error."""
    delimiter = dialect.delimiter
    if dialect.quote is None and dialect.is_escaped:
        yield from escaped_rows(text, delimiter)
        return
    if dialect.quote is None:
        most = -1 if dialect.num_cells is None else dialect.num_cells - 1
        for number, line in enumerate(lines_of(text), start=1):
            yield number, number, line.split(delimiter, most) if line else []
        return
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=dialect.quote,
        escapechar="\\" if dialect.is_escaped else None,
        doublequote=not dialect.is_escaped,
        strict=True,
    )
    start = 1
    for cells in reader:
        yield start, reader.line_num, cells
        start = reader.line_num + 1
