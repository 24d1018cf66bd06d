"""Rows that a trained model is asked about, checked like those of its data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, Problem, Verbatim, nearest
from lightning_modules.task.base import Task


def table_of(rows: Iterable[str | Mapping[str, Any]], column: str) -> Table:
    """Return rows as a table: plain texts go to `column`, mappings keep their columns."""
    records = [{column: row} if isinstance(row, str) else dict(row) for row in rows]
    columns = list(dict.fromkeys(name for record in records for name in record)) or [column]
    return Table(Path("rows"), columns, records, range(1, len(records) + 1))


def rows_to_predict(
    table: Table,
    trained_columns: Mapping[str, str | None],
    task: Task,
    named: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the table's rows as the task reads them, without labels.

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
        if trained is None or field == "label":
            continue
        columns[field] = (named or {}).get(field, trained)
        if columns[field] == trained and trained not in table.columns:
            raise ConfigError(_missing(table, field, trained))
    return table.read(columns, {field: task.cells[field] for field in columns}, prefix="")


def _missing(table: Table, field: str, column: str) -> Problem:
    rule = f"must have the column {column!r} that the model was trained on"
    got = Verbatim(f"columns {', '.join(table.columns)}")
    fix = f"Name the right one: {field}={nearest(column, table.columns) or 'COLUMN'}."
    return Problem(str(table.path), rule, got, fix)
