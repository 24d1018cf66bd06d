"""Rows to predict, checked like those of the model's data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_modules.data.instruction import framed_talks
from lightning_modules.data.table import Table
from lightning_modules.data.templated import named_columns, notes_of, templated
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.task.base import Task
from lightning_modules.text.template import TEXT, needed_in

Rows = Iterable[str | tuple[str, str] | Mapping[str, Any]]
"""Texts, pairs of texts, or mappings by column; a pandas DataFrame is read row by row."""


def table_of(rows: Rows, columns: Mapping[str, str | None]) -> Table:
    """Return rows as a table.

    Args:
        rows: A text goes to the column of the field `text`, a pair to those of `text` and
            `text_pair`; a mapping keeps its columns.
        columns: The column of each field.

    Raises:
        ConfigError: These are not rows.

    """
    text, pair = columns.get("text") or "text", columns.get("text_pair")
    records = [_record(row, text, pair) for row in _each(rows)]
    names = list(dict.fromkeys(name for record in records for name in record)) or [text]
    return Table(Path("rows"), names, records, range(1, len(records) + 1))


def rows_to_predict(
    table: Table,
    trained_columns: Mapping[str, str | None],
    task: Task,
    named: Mapping[str, str] | None = None,
    prompt: str | None = None,
    notes: list[str] | None = None,
) -> Sequence[Mapping[str, Any]]:
    """Return the table's rows in the task's form, without labels.

    Args:
        table: The rows.
        trained_columns: The column of each field in the rows that the model was trained on.
        task: The task.
        named: Other columns for some fields.
        prompt: The template that writes prompts from columns, if the model was trained so.
        notes: How prompts are written is appended.

    Raises:
        UserError: A column is missing, or a cell cannot be used.

    """
    if prompt is not None:
        return _asked(table, task, columns_asked(prompt, trained_columns, named), prompt, notes)
    fields = {
        field: column
        for field, column in trained_columns.items()
        if column is not None and field not in task.label_fields
    }
    if others := [field for field in fields if field not in task.cells]:
        rule = "its columns must be those of fields that its task has"
        raise ConfigError(Problem("model", rule, others[0], "Export the model again."))
    talks = None if TEXT in (named or {}) else framed_talks(table, fields, task)
    if talks is not None:
        if notes is not None:
            notes += notes_of([talks])
        return talks.table.read(talks.columns, task.cells)
    columns = {}
    for field, trained in trained_columns.items():
        if trained is None or field in task.label_fields:
            continue
        columns[field] = (named or {}).get(field, trained)
        if columns[field] == trained and trained not in table.columns:
            raise ConfigError(_missing(table, field, trained))
    if not columns:  # the training rows had their prompts in the answers
        columns["text"] = (named or {}).get("text", "text")
    return table.read(columns, task.cells, keys={field: field for field in columns})


def checked_rows(
    rows: Rows,
    columns: Mapping[str, str | None],
    task: Task,
    prompt: str | None,
    **named: str | None,
) -> Sequence[Mapping[str, Any]]:
    """Return the rows in the task's form; `named` are other columns for some fields."""
    other = {name: column for name, column in named.items() if column is not None}
    into = {**columns, **other}
    if prompt is not None:
        into[TEXT] = columns_asked(prompt, columns, other)[first_asked(prompt)]
    return rows_to_predict(table_of(rows, into), columns, task, other, prompt)


def columns_asked(
    prompt: str, trained_columns: Mapping[str, str | None], named: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the column of each name in a prompt's template; `text` is the first that it needs."""
    columns = named_columns(prompt, trained_columns.get(TEXT) or TEXT)
    if named and TEXT in named:
        columns[first_asked(prompt)] = named[TEXT]
    return columns


def first_asked(prompt: str) -> str:
    """Return the name in a prompt's template that a row which is one text stands for."""
    needed = needed_in(prompt) or tuple(named_columns(prompt, TEXT))
    return TEXT if TEXT in needed else needed[0]


def _asked(
    table: Table, task: Task, columns: Mapping[str, str], prompt: str, notes: list[str] | None
) -> Sequence[Mapping[str, Any]]:
    """Return rows with their prompts; a column that only a part in [[...]] needs may be missing."""
    needed = [columns[name] for name in needed_in(prompt)]
    missing = [column for column in columns.values() if column not in table.columns]
    if absent := [column for column in missing if column in needed]:
        raise ConfigError(_missing(table, TEXT, column) for column in absent)
    whole = replace(table, columns=[*table.columns, *missing])
    frame = templated(whole, {TEXT: needed[0] if needed else TEXT}, prompt, names=columns)
    rows = frame.table.read(frame.columns, {TEXT: task.cells[TEXT]}, keys={TEXT: TEXT})
    if notes is not None:
        notes += notes_of([frame])
    return frame.marked(rows)


def _each(rows: Any) -> Iterator[Any]:
    to_dict = getattr(rows, "to_dict", None)
    if to_dict is not None and hasattr(rows, "columns"):
        return iter(to_dict("records"))  # iterating over a DataFrame gives its column names
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise ConfigError(_no_rows(rows))
    return iter(rows)


def _record(row: Any, text: str, pair: str | None) -> dict[str, Any]:
    if isinstance(row, str):
        return {text: row}
    if isinstance(row, Mapping):
        return dict(row)
    if isinstance(row, tuple) and len(row) == 2:
        if pair is None:
            rule = f"must be one text per row: the model was trained on the column {text!r} alone"
            raise ConfigError(Problem("rows", rule, row, "Leave the second text out."))
        return dict(zip((text, pair), row, strict=True))
    raise ConfigError(_no_rows(row))


def _no_rows(got: object) -> Problem:
    rule = "must be a list of texts, pairs of texts or mappings"
    return Problem("rows", rule, got, 'Write predict(["Fine."]).')


def _missing(table: Table, field: str, column: str) -> Problem:
    rule = f"must have the column {column!r} that the model was trained on"
    got = Verbatim(f"columns {table.shown_columns}")
    fix = f"Name the right one: {field}={table.similar_column(column) or 'COLUMN'}."
    return Problem(str(table.path), rule, got, fix)
