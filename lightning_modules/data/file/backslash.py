r"""Text as PostgreSQL's COPY and MySQL's SELECT INTO OUTFILE write it: backslashes and no quotes.

`\t`, `\n`, `\r` and `\\` are a tab, line ends and a backslash within a cell, and a cell `\N` is
empty. MySQL writes a backslash before the tab or the line end itself, and NUL as `\0`. A last line
`\.` ends the rows; elsewhere, e.g. in files that were joined, it is a row of its own, and so
refused. Lines end in `\r` alone if the text has no `\n`.

https://www.postgresql.org/docs/current/sql-copy.html, File Formats, Text Format;
https://dev.mysql.com/doc/refman/8.4/en/load-data.html, FIELDS ESCAPED BY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

NONE, END = "\\N", "\\."
_CELL = re.compile(r"(?:\\[bfnrtvN0\\\t\n]|[^\\])*", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SIGNS = {"0": "\0", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def is_escaped(rows: Sequence[Sequence[str]]) -> bool:
    r"""Return whether cells are `\N`, and every backslash is one of this format."""
    cells = [cell for row in rows for cell in row if "\\" in cell and cell != END]
    return NONE in cells and all(_CELL.fullmatch(cell) for cell in cells)


def escaped_rows(text: str, delimiter: str) -> Iterator[tuple[int, int, Sequence[str]]]:
    r"""Yield each row's first line, last line and cells.

    >>> list(escaped_rows("a\\tb;1\n\\N;2\n", ";"))
    [(1, 1, ['a\tb', '1']), (2, 2, ['', '2'])]
    """
    line = start = 1
    cells: list[str] = []
    between, line_end = re.escape(delimiter), "\n" if "\n" in text else "\r"
    ends = re.compile(rf"((?:[^\\{between}{line_end}]+|\\.?)*)({between}|{line_end}|\Z)", re.DOTALL)
    for found in ends.finditer(text):
        cell, end = found.groups()
        line += cell.count(line_end)
        if end != delimiter and line_end == "\n":
            cell = cell.removesuffix("\r")
        cells.append("" if cell == NONE else _ESCAPE.sub(_sign, cell))
        if end == delimiter:
            continue
        if cell == END and len(cells) == 1 and not text[found.end() :].strip():
            return
        yield start, line, cells if cells != [""] else []
        if found.end() == len(text):
            return
        line += 1
        start, cells = line, []


def _sign(found: re.Match[str]) -> str:
    return _SIGNS.get(found[1], found[1])
