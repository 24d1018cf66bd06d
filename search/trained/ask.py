"""Rows to predict, checked like those of the model's data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, Problem, Verbatim, nearest
from lightning_modules.task.base import Task

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
) -> list[dict[str, Any]]:
    """Return the table's rows in the task's form, without labels.

    Args:
        table: The rows.
        trained_columns: The column of each field in the rows that the model was trained on.
        task: The task.
        named: Other columns for some fields.

    Raises:
        UserError: A column is missing, or a cell cannot be used.

    """
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
    rows: Rows, columns: Mapping[str, str | None], task: Task, **named: str | None
) -> list[dict[str, Any]]:
    """Return the rows in the task's form; `named` are other columns for some fields."""
    other = {name: column for name, column in named.items() if column is not None}
    return rows_to_predict(table_of(rows, {**columns, **other}), columns, task, other)


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
    got = Verbatim(f"columns {', '.join(table.columns)}")
    fix = f"Name the right one: {field}={nearest(column, table.columns) or 'COLUMN'}."
    return Problem(str(table.path), rule, got, fix)
