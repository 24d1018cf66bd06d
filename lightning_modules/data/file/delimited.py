"""Delimited files: CSV, TSV, and others whose lines are cut at a character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress, zip_longest
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from lightning_modules.data.file.detect import Found, find_rows
from lightning_modules.data.file.dialect import Cut, fits_header, lines_of, used_length
from lightning_modules.data.file.encoding import Decoded
from lightning_modules.data.file.form import AUTO, BY_ENDING, DELIMITERS, NAMES, NO_NAMES, Form
from lightning_modules.data.table import Table, raise_first
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim

ROW_NAME = "row"
"""Name of the numbers of rows, if the header has none for them."""
MAX_NAME = 60
"""Characters that the name of a column hardly exceeds."""
NUM_EXAMINED = 20
MAX_ABOVE = 20_000
"""Characters in which a line of names is looked for."""
_COMMENTS = re.compile(r"#[^\r\n]*(?:\r\n?|\n)(?:(?:#[^\r\n]*)?(?:\r\n?|\n))*")
SEP = re.compile(r'"?sep=([^\r\n"])"?(?=[\r\n])')
"""Excel's own first line, which names the delimiter."""


def read_delimited(
    path: Path, content: Decoded, form: Form, ending: str, wanted: Sequence[str] = ()
) -> Table:
    """Return a text's rows as a table.

    Args:
        path: The file, for messages.
        content: Its text.
        form: What the user says of it.
        ending: Its ending, without that of a container.
        wanted: Names that one of the columns should have.

    Raises:
        ConfigError: `columns` does not fit the file.
        DataError: A row has too few or too many cells, or quotes are not in pairs.

    """
    text, says = content.text, ""
    if form.delimiter != BY_ENDING and (sep := SEP.match(text)) is not None:
        text = text[sep.end() :]  # a blank line stays, so that lines keep their numbers
        says = f", line 1 says {sep[0]}"
        form = replace(form, delimiter=sep[1]) if form.delimiter == AUTO else form
    found, notes = _below_comments(path, text, form, ending, wanted), list(content.notes)
    if found is None:
        check_first(path, text, form, wanted)
        found = find_rows(text, form, str(path), ending, wanted)
    else:
        line = found.cut.lines[0]
        notes.append(f"{path}: the lines above line {line} begin with #, and are not read")
    cut = found.cut
    if cut.error is not None:
        fix = f'Write a quote inside a quoted cell twice: "". Or set {form.prefix}quoting=none.'
        where, rule = f"{path}:{cut.error_line}", "must be quoted correctly"
        raise DataError(Problem(where, rule, Verbatim(cut.error), fix))
    table = table_of(path, cut, form)
    how = f"{cut.dialect}{says}, {table.reading}, {content.encoding} ({found.sure})"
    return replace(table, reading=how, notes=(*notes, *table.notes))


def _below_comments(
    path: Path, text: str, form: Form, ending: str, wanted: Sequence[str]
) -> Found | None:
    """Return the rows below lines that begin with #; None if there are none of both.

    Not all of the lines may be like a row, unless the wanted names are below them.
    """
    comments = _COMMENTS.match(text)
    if comments is None or form.delimiter == BY_ENDING:
        return None
    lines = re.split(r"\r\n?|\n", comments[0])[:-1]
    blank = "\n" * len(lines)  # so that the rows keep their line numbers
    try:
        found = find_rows(blank + text[comments.end() :], form, str(path), ending, wanted)
    except DataError:
        return None
    if found.cut.error is not None or len(found.cut.lengths) != 1 or found.cut.dialect is None:
        return None
    (width,) = found.cut.lengths
    widths = {len(line.split(found.cut.dialect.delimiter)) for line in lines}
    is_named = bool(wanted) and set(wanted) <= {cell.strip() for cell in found.cut.rows[0]}
    return found if width > 1 and (is_named or widths != {width}) else None


def check_first(path: Path, text: str, form: Form, wanted: Sequence[str]) -> None:
    """Refuse lines above the names of the columns, e.g. a title; raises like `check_names_first`.

    Only the first `MAX_ABOVE` characters are looked at, so the rest of the text may be missing.
    """
    lines = lines_of(text[:MAX_ABOVE])[:NUM_EXAMINED]
    by_delimiter = [
        [[cell.strip(" \"'") for cell in line.split(delimiter)] for line in lines]
        for delimiter in DELIMITERS.values()
    ]
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if not any(set(wanted) <= set(rows[first]) for rows in by_delimiter):
        for delimiter, rows in zip(DELIMITERS.values(), by_delimiter, strict=True):
            if delimiter != DELIMITERS["space"]:  # a sentence may have the names as words
                check_names_first(path, rows, range(1, len(rows) + 1), form, wanted)


def check_names_first(
    path: Path,
    rows: Sequence[Sequence[str]],
    lines: Sequence[int],
    form: Form,
    wanted: Sequence[str],
) -> None:
    """Refuse rows above the names of the columns.

    Raises:
        DataError: The wanted names are in a lower row, and not in the first.

    """
    filled = [(line, cells) for line, cells in zip(lines, rows, strict=True) if any(cells)]
    if len(set(wanted)) < 2 or form.columns is not None or form.header != AUTO:
        return
    named = (line for line, cells in filled[:NUM_EXAMINED] if set(wanted) <= {*cells})
    line = next(named, None)
    if line is not None and line != filled[0][0]:
        rule, got = "must begin with the names of the columns", f"them in line {line}"
        fix = "Remove the lines above."
        raise DataError(Problem(str(path), rule, Verbatim(got), fix))


def table_of(path: Path, cut: Cut, form: Form) -> Table:
    """Return rows of cells as a table; `reading` says where the names come from.

    Raises:
        ConfigError: `columns` does not fit the file.
        DataError: A row has too few or too many cells.

    """
    cut, notes = _filled(path, cut)
    if not cut.rows:
        return Table(path, [], [], [])
    head = _head(path, cut, form)
    notes += head.notes
    if form.columns is None:
        _check_widths(path, cut, head)
    elif (beyond := _beyond(path, cut, head)) is not None:
        notes.append(beyond)
    rows: list[dict[str, Any]] = [_row(head, cells) for cells in cut.rows[head.first :]]
    is_like_rows = form.columns is None and head.first > 0 and _is_like_rows(cut)
    hint = no_names_hint(head.names, cut.lines[0], form) if is_like_rows else ""
    return Table(
        path,
        head.columns,
        rows,
        cut.lines[head.first :],
        head.how,
        tuple(notes),
        unusable=head.unusable,
        hint=hint,
    )


def no_names_hint(names: Sequence[str | None], line: int, form: Form) -> str:
    """Return what to do if the line that was taken for the columns' names is a row."""
    fix = f"name the columns: {form.prefix}columns=[{','.join(ascii_uppercase[: len(names)])}]"
    if len(names) > len(ascii_uppercase):
        fix = f"set {form.prefix}header=none, which names them column 1, column 2, ..."
    return f"If line {line} is a row, {fix}."


def _filled(path: Path, cut: Cut) -> tuple[Cut, list[str]]:
    """Leave out rows of several cells that are all empty, as Excel writes them, and say so."""
    is_filled = [len(cells) == 1 or any(map(str.strip, cells)) for cells in cut.rows]
    number = is_filled.count(False)
    if not number:
        return cut, []
    line = cut.lines[is_filled.index(False)]
    are = "row has" if number == 1 else "rows have"
    note = f"{path}: {number:,} {are} only empty cells, and are not read, e.g. line {line}"
    filled = replace(
        cut,
        rows=list(compress(cut.rows, is_filled)),
        lines=list(compress(cut.lines, is_filled)),
        ends=list(compress(cut.ends, is_filled)),
    )
    return filled, [note]


@dataclass(frozen=True)
class _Head:
    """The names of the columns.

    Attributes:
        names: One for each cell of a row; None for a column that is empty and has no name.
        first: The first row that is not the names'.
        how: Where they come from, in words.
        unusable: Columns that no task can use, and why.
        notes: What else must be said.

    """

    names: Sequence[str | None]
    first: int
    how: str
    unusable: dict[str, Problem]
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        return [name for name in self.names if name is not None]


def _head(path: Path, cut: Cut, form: Form) -> _Head:
    first = [cell.strip() for cell in cut.rows[0]]
    if form.columns is not None:
        return _given_head(path, cut, form)
    if form.header == NO_NAMES:
        return _Head([str(n + 1) for n in range(len(first))], 0, "no line of names", {})
    names: list[str | None] = []
    seen: set[str] = set()
    unusable: dict[str, Problem] = {}
    line = cut.lines[0]
    for number, name in enumerate(first):
        if not name and not any(row[number].strip() for row in cut.rows if len(row) > number):
            names.append(None)
            continue
        if name in seen:
            rule = "column names must be unique"
            unusable[name] = Problem(f"{path}:{line}", rule, name, "Rename one.")
        unique = name if name and name not in seen else _unique(name, number, seen)
        seen.add(unique)
        names.append(unique)
    how = f"names in line {line}"
    if cut.has_row_names:
        names.insert(0, _unique(ROW_NAME, 0, seen) if ROW_NAME in seen else ROW_NAME)
        how += ", rows begin with numbers that have none"
    return _Head(names, 1, how, unusable)


def _unique(name: str, number: int, seen: set[str]) -> str:
    found = f"{name} (column {number + 1})" if name else f"column {number + 1}"
    while found in seen:
        found += "'"
    return found


def _given_head(path: Path, cut: Cut, form: Form) -> _Head:
    assert form.columns is not None
    names, first = list(form.columns), cut.rows[0]
    usual = cut.lengths.most_common(1)[0][0]
    if usual != len(names):
        rule = f"must name each of the {usual} columns of {path}"
        got = Verbatim(f"{len(names)}: {', '.join(names)}")
        fix = f"Its first row: {_brief(first)}."
        raise ConfigError(Problem(f"{form.prefix}columns", rule, got, fix))
    same = [cell.strip().casefold() for cell in first] == [name.casefold() for name in names]
    if form.header == NAMES or (form.header == AUTO and same):
        return _Head(names, 1, f"names given, and in line {cut.lines[0]}", {})
    return _Head(names, 0, f"names given, so line {cut.lines[0]} is a row", {})


def _is_like_rows(cut: Cut) -> bool:
    """Return whether the first row is hardly one of names: long, a number, or a value below."""
    return any(
        is_no_name(cell) or (cell.strip() and any(row[n : n + 1] == [cell] for row in cut.rows[1:]))
        for n, cell in enumerate(cut.rows[0][:NUM_EXAMINED])
    )


def is_no_name(cell: str) -> bool:
    """Return whether a cell is hardly the name of a column.

    >>> is_no_name("text"), is_no_name("4.5")
    (False, True)
    """
    return len(cell) > MAX_NAME or cell.strip().replace(".", "", 1).isdecimal()


def _check_widths(path: Path, cut: Cut, head: _Head) -> None:
    header = cut.rows[0]
    if len(cut.lengths) == 1 or (head.first and cut.has_row_names):
        return
    fix = "Remove them, or give their columns names."
    if cut.dialect is not None:
        fix = f"Quote cells that hold {cut.dialect.delimiter!r} or a line break."
    like = "like the header" if head.first else "like the first row"
    raise_first(
        [
            Problem(
                f"{path}:{line}",
                f"must have {len(header)} cells, {like}",
                len(cells),
                fix,
            )
            for line, cells in zip(cut.lines, cut.rows, strict=True)
            if not fits_header(cells, header)
        ]
    )


def _beyond(path: Path, cut: Cut, head: _Head) -> str | None:
    """Return what to say of cells that no name is for; refuse rows with too few."""
    num = len(head.names)
    raise_first(
        [
            Problem(f"{path}:{line}", f"must have {num} cells, as named", len(cells))
            for line, cells in zip(cut.lines, cut.rows, strict=True)
            if len(cells) < num
        ]
    )
    longer = [
        (line, cells)
        for line, cells in zip(cut.lines, cut.rows, strict=True)
        if used_length(cells) > num
    ]
    if not longer:
        return None
    line, cells = longer[0]
    are = "row has" if len(longer) == 1 else "rows have"
    return (
        f"{path}: {len(longer)} {are} more than the {num} cells that are named, which are not "
        f"read, e.g. line {line}: {_brief(cells[num:])}"
    )


def _row(head: _Head, cells: Sequence[str]) -> dict[str, Any]:
    named = zip_longest(head.names, cells[: len(head.names)], fillvalue="")
    return {name: cell for name, cell in named if name is not None}


def _brief(cells: Sequence[str]) -> str:
    shown = " | ".join(cell.strip() for cell in cells)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"
