"""Rows whose prompts a template writes from several columns.

A part in [[...]] is left out of rows in which one of its columns is empty; how often that happens
is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_modules.data.table import Table, names_of
from lightning_modules.error import ConfigError, Problem
from lightning_modules.rows.columns import compact
from lightning_modules.rows.corpus import Row
from lightning_modules.text.template import ASKED, TEXT, cell_text, columns_in, filled, needed_in


@dataclass(frozen=True)
class Templated:
    """A table whose columns are those of the task's fields.

    Attributes:
        table: The table.
        columns: Column by field.
        how: How its rows are read, if that is not plain.
        asked: For each row, the template that wrote its prompt, and its cells; None if texts are
            as in the file.
        num_empty: By column of the template, the rows in which it is empty.
        needed: The template's columns outside the parts that may be left out.

    """

    table: Table
    columns: Mapping[str, str]
    how: str = ""
    asked: Sequence[Mapping[str, Any]] | None = None
    num_empty: Mapping[str, int] = field(default_factory=dict)
    needed: Sequence[str] = ()

    def marked(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return rows that were read with what wrote their prompts, compact."""
        if self.asked is None:
            return rows
        pairs = zip(rows, self.asked, strict=True)
        return compact({**row, ASKED: each} for row, each in pairs)

    def marked_rest(self, rows: Sequence[Row | None]) -> Sequence[Row | None]:
        """Return rows of which some were refused, the others with what wrote their prompts."""
        if self.asked is None:
            return rows
        pairs = zip(rows, self.asked, strict=True)
        return [None if row is None else {**row, ASKED: each} for row, each in pairs]


def notes_of(frames: Iterable[Templated]) -> Iterator[str]:
    """Yield how rows are read, once for files that are read alike, and which columns are empty."""
    alike: dict[str, list[Templated]] = {}
    for frame in frames:
        if frame.how:
            alike.setdefault(frame.how, []).append(frame)
    for how, group in alike.items():
        files = names_of([frame.table for frame in group])
        yield f"{files}: read as {how}"
        num_rows = sum(len(frame.table.rows) for frame in group)
        num_empty = sum((Counter(frame.num_empty) for frame in group), Counter[str]())
        for column, count in num_empty.items():
            found = f"{files}: {{{column}}} is empty in {count:,} of {num_rows:,} rows"
            if column in group[0].needed:
                yield f"{found}; a part of the template in [[...]] would be left out there"
            else:
                yield f"{found}, which leaves out its part of the template"


def named_columns(template: str, text: str) -> dict[str, str]:
    """Return the column of each name in a template; `text` is that of `{text}`.

    >>> named_columns("{text} {more}", "title")
    {'text': 'title', 'more': 'more'}
    """
    return {name: text if name == TEXT else name for name in columns_in(template)}


def templated(
    table: Table,
    columns: Mapping[str, str],
    template: str,
    kind: str = "",
    names: Mapping[str, str] | None = None,
) -> Templated:
    """Return a table whose texts are the template, filled with the cells of each row.

    Args:
        table: The table.
        columns: The column of each field.
        template: The template.
        kind: What messages call rows of this form.
        names: The column of each name in the template; None if that is its name.

    Raises:
        ConfigError: The template names a column that the table lacks, or that of the answers.

    """
    names = named_columns(template, columns["text"]) if names is None else names
    answer = columns.get("label")
    missing = [name for name in names.values() if name not in table.columns]
    if missing:
        raise ConfigError(_no_column(table, name, template) for name in missing)
    if answer in names.values():
        fix = f"Leave {{{answer}}} out."
        raise ConfigError(Problem("task.template", "must not hold the answers", template, fix))
    needed = [names[name] for name in needed_in(template)]
    text = (needed or list(names.values()))[0]  # a broken row is reported there
    rows, asked, num_empty = [], [], dict.fromkeys(names.values(), 0)
    for row in table.rows:
        cells = {name: cell_text(row.get(column)) for name, column in names.items()}
        for name, column in names.items():
            num_empty[column] += not cells[name].strip()
        asked.append({"template": template, "cells": cells})
        rows.append({**row, text: _prompt(template, cells, row, names)})
    to = "" if answer is None else f", answer {{{answer}}}"
    shown = template.replace("\n", r"\n")
    how = f"{kind}prompt '{shown}'{to}"
    found = replace(table, rows=rows)
    return Templated(found, {**columns, "text": text}, how, asked, num_empty, needed)


def _prompt(
    template: str, cells: Mapping[str, str], row: Mapping[str, Any], names: Mapping[str, str]
) -> str:
    """Return a row's prompt; nothing if it is empty, and a name if it has the columns' names."""
    if not any(value.strip() for value in cells.values()):
        return ""
    if all(row.get(column) == column for column in names.values()):
        return next(iter(names.values()))  # `Table.read` refuses the names of columns as a row
    return filled(template, cells)


def _no_column(table: Table, name: str, template: str) -> Problem:
    fix = f"{table.existing_columns(name)} Write literal braces twice: {{{{."
    return Problem("task.template", f"must name columns of {table.path}", template, fix)
