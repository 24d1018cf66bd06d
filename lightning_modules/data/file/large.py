"""Large files in the usual forms, read row by row.

These are JSONL, and CSV or TSV with names, in UTF-8, each also within a container, and the columns
of Parquet and Arrow. A row is parsed each time that it is asked for, so that a file of gigabytes
takes no memory. What is not usual, and every mistake, is left to the readers of whole files
(`data.read`), which say what it is: then `read_large` returns None.
"""

from __future__ import annotations

import csv
import io
import json
import re
from array import array
from codecs import lookup
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, overload

from lightning_modules.data.file.arrow import ARROW, open_batches, repeated
from lightning_modules.data.file.container import BrokenError, Source
from lightning_modules.data.file.delimited import (
    NUM_EXAMINED,
    SEP,
    check_first,
    is_no_name,
    no_names_hint,
)
from lightning_modules.data.file.detect import (
    SAMPLE_SIZE,
    SEVERAL,
    SPACE,
    SURE,
    TAB,
    find_delimiter,
)
from lightning_modules.data.file.dialect import (
    DOUBLE,
    MAX_FIELD,
    SINGLE,
    Dialect,
    fits_header,
)
from lightning_modules.data.file.encoding import CONTROL, MARKS, UTF8
from lightning_modules.data.file.form import AUTO, NO_NAMES, Form
from lightning_modules.data.file.objects import parsed
from lightning_modules.data.file.unchanged import check_unchanged, state_of
from lightning_modules.data.table import Table
from lightning_modules.error import DataError

LARGE_BYTES = 32 * 2**20
"""Smaller files are read whole, which takes at most some hundred megabytes."""
_WIDE_JIS = "\x1b$"
PACKED_TIMES = 8
"""How many times as large as a container its text is taken to be."""
_PREFIX_BYTES = 8 * SAMPLE_SIZE
_LONE_RETURN = re.compile(r"\r(?!\n)")


_Read = Callable[[Source, Form, Sequence[str]], Table]


class _Unusual(Exception):
    """The file is not of the usual form."""


def read_large(source: Source, form: Form, wanted: Sequence[str]) -> Table | None:
    """Return the rows of a large file of the usual form; None of another.

    Args:
        source: The file.
        form: What the user says of it.
        wanted: Names that one of the columns should have.

    Raises:
        DataError: The names of the columns are not in its first line, or the file changes.

    """
    times = PACKED_TIMES if source.is_packed else 1
    if source.file.stat().st_size * times < LARGE_BYTES:
        return None
    read: _Read | None
    if source.ending in ARROW:
        read = None if source.is_packed else _read_columns
    else:
        is_utf8 = form.encoding == AUTO or lookup(form.encoding).name == UTF8
        read = _TEXTS.get(source.ending) if is_utf8 else None
    if read is None:
        return None
    state = state_of(source.file)
    try:
        table = read(source, form, wanted)
    except (_Unusual, BrokenError):
        return None
    check_unchanged(source.file, state)
    return table if not source.notes else replace(table, notes=(*source.notes, *table.notes))


class _Rows(Sequence[dict[str, Any]]):
    """The rows of a file, read from its beginning each time."""

    def __init__(
        self, path: Path, num_rows: int, read: Callable[[], Iterator[dict[str, Any]]]
    ) -> None:
        self._path, self._num_rows, self._read = path, num_rows, read
        self._state = state_of(path)

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        check_unchanged(self._path, self._state)
        try:
            yield from self._read()
        except (ValueError, csv.Error, BrokenError):  # it was read before
            check_unchanged(self._path, self._state)
            raise
        check_unchanged(self._path, self._state)

    @overload
    def __getitem__(self, number: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(number, slice):
            start, stop, step = number.indices(len(self))
            if step < 0:
                return list(islice(self, len(self)))[number]
            return list(islice(self, start, max(stop, start), step))
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(number)
        return next(islice(self, place, None))


def _lines(source: Source) -> Iterator[str]:
    r"""Yield the lines with their ends; only "\n" ends one. Raises `_Unusual`."""
    with source.open() as file:
        for number, line in enumerate(file):
            if number == 0 and any(line.startswith(mark) for mark, _ in MARKS):
                raise _Unusual
            try:
                text = line.decode()
            except UnicodeDecodeError:
                raise _Unusual from None
            if "\0" in text or _WIDE_JIS in text:
                raise _Unusual
            if not text.isascii() and CONTROL.search(text) is not None:
                raise _Unusual
            yield text


def _read_jsonl(source: Source, form: Form, wanted: Sequence[str]) -> Table:
    columns: dict[str, None] = {}
    lines = array("Q")
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            value = parsed(line)
        except (ValueError, RecursionError):
            raise _Unusual from None
        if not isinstance(value, dict):
            raise _Unusual
        lines.append(number)
        columns.update(dict.fromkeys(value))

    def rows() -> Iterator[dict[str, Any]]:
        with source.open() as file:
            texts = map(bytes.decode, file)
            yield from (json.loads(text) for text in texts if text.strip())

    found = _Rows(source.file, len(lines), rows)
    return Table(source.path, list(columns), found, _compact(lines))


def _read_delimited(source: Source, form: Form, wanted: Sequence[str]) -> Table:
    if form.columns is not None or form.header == NO_NAMES or form.quoting != AUTO:
        raise _Unusual
    path = source.path
    start = _prefix(source)
    if start.startswith("#") or SEP.match(start):
        raise _Unusual
    check_first(path, start, form, wanted)
    delimiter, is_alone = find_delimiter(start, form, str(path), source.ending, wanted)
    if delimiter == SPACE:
        raise _Unusual
    unquoted = _unquoted(source, delimiter)
    if SINGLE in unquoted.quotes and not unquoted.fits and _fits(source, delimiter, SINGLE):
        raise _Unusual
    found = _quoted(source, delimiter)
    if unquoted.fits and DOUBLE in unquoted.quotes and unquoted.num_rows != len(found.lines) + 1:
        raise _Unusual
    names = found.names
    dialect, sure = Dialect(delimiter, DOUBLE), SURE if is_alone else SEVERAL
    reading = f"{dialect}, names in line {found.first}, UTF-8 ({sure})"
    hint = no_names_hint(names, found.first, form) if found.is_like_rows else ""

    def rows() -> Iterator[dict[str, Any]]:
        cells = (cells for _, cells in _cut(source, delimiter, DOUBLE) if cells)
        return (dict(zip(names, each, strict=True)) for each in islice(cells, 1, None))

    lines = _compact(found.lines)
    each = _Rows(source.file, len(lines), rows)
    return Table(path, names, each, lines, reading, hint=hint)


def _read_columns(source: Source, form: Form, wanted: Sequence[str]) -> Table:
    try:
        found = open_batches(source.file, source.ending)
    except DataError:
        raise _Unusual from None
    rows = _Rows(source.file, found.num_rows, found.rows)
    lines, unusable = range(1, found.num_rows + 1), repeated(source.path, found.columns)
    return Table(source.path, found.columns, rows, lines, unusable=unusable)


_TEXTS: Mapping[str, _Read] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".tab": _read_delimited,
}


def _prefix(source: Source) -> str:
    """Return the first lines of a file; more of them than the delimiter is looked for in."""
    with source.open() as file:
        content = file.read(_PREFIX_BYTES)
        is_whole = not file.read(1)
    whole = content if is_whole else content[: content.rfind(b"\n") + 1]
    try:
        text = whole.decode()
    except UnicodeDecodeError:
        raise _Unusual from None
    if len(text) <= SAMPLE_SIZE:  # a line is very long
        raise _Unusual
    return text


@dataclass(frozen=True)
class _Unquoted:
    """How a file is cut without quoting.

    Attributes:
        fits: Whether each row has a cell for each name.
        num_rows: How many rows it has, with that of the names.
        quotes: The quotes in it.

    """

    fits: bool
    num_rows: int
    quotes: frozenset[str]


def _unquoted(source: Source, delimiter: str) -> _Unquoted:
    """Return how a file is cut without quoting; raise `_Unusual` if a tab needs a closer look."""
    header: list[str] | None = None
    fits, num_rows = True, 0
    quotes: set[str] = set()
    within: list[bool | None] = []  # of each column, whether all cells are within single quotes
    for ended in _lines(source):
        line = ended.removesuffix("\n").removesuffix("\r")
        if "\r" in line:
            raise _Unusual
        if not line:
            continue
        num_rows += 1
        quotes.update(quote for quote in (DOUBLE, SINGLE) if quote in line)
        if delimiter == TAB and (DOUBLE in line or "\\" in line):
            raise _Unusual
        if not fits:
            continue
        cells = line.split(delimiter)
        if header is None:
            header, within = cells, [None] * len(cells)
            continue
        fits = fits_header(cells, header)
        for n, cell in enumerate(cells[: len(within)]):
            if cell and within[n] is not False:
                within[n] = _is_within(cell)
    if delimiter == TAB and not fits:  # rows may begin with their numbers
        raise _Unusual
    if fits and any(within):
        raise _Unusual
    return _Unquoted(fits, num_rows, frozenset(quotes))


def _is_within(cell: str) -> bool:
    return len(cell) >= 2 and cell[0] == SINGLE == cell[-1]


def _fits(source: Source, delimiter: str, quote: str) -> bool:
    """Return whether each row has a cell for each name if `quote` is around cells."""
    rows = (cells for _, cells in _cut(source, delimiter, quote) if cells)
    try:
        header = next(rows, [])
        return all(fits_header(cells, header) for cells in rows)
    except csv.Error:
        return False


@dataclass(frozen=True)
class _Quoted:
    """How a file is cut if double quotes are around cells that need them.

    Attributes:
        names: The names of the columns.
        first: The line of the names.
        lines: The line of each row.
        is_like_rows: Whether the names may be a row.

    """

    names: Sequence[str]
    first: int
    lines: array[int]
    is_like_rows: bool


def _quoted(source: Source, delimiter: str) -> _Quoted:
    rows = ((line, cells) for line, cells in _cut(source, delimiter, DOUBLE) if cells)
    lines = array("Q")
    try:
        first, header = next(rows, (0, [""]))
        names = [cell.strip() for cell in header]
        if not all(names) or len(set(names)) < len(names):
            raise _Unusual
        shown = [(n, cell) for n, cell in enumerate(header[:NUM_EXAMINED]) if cell.strip()]
        is_like_rows = any(map(is_no_name, header[:NUM_EXAMINED]))
        for line, cells in rows:
            if len(cells) != len(header):
                raise _Unusual
            if len(cells) > 1 and not any(map(str.strip, cells)):
                raise _Unusual
            is_like_rows = is_like_rows or any(cells[n] == cell for n, cell in shown)
            lines.append(line)
    except csv.Error:
        raise _Unusual from None
    return _Quoted(names, first, lines, is_like_rows)


def _cut(source: Source, delimiter: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's first line and cells; raises csv.Error."""
    csv.field_size_limit(MAX_FIELD)
    with io.TextIOWrapper(source.open(), encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, quotechar=quote, strict=True)
        start = 1
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1


def _compact(lines: array[int]) -> Sequence[int]:
    """Return the numbers of lines; as a range if no line is between them."""
    if lines and lines[-1] - lines[0] + 1 == len(lines):
        return range(lines[0], lines[-1] + 1)
    return lines
