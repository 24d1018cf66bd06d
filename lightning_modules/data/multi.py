"""Several labels per row as people write them: `sport|money` in a cell, or a 0/1 column each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightning_modules.data.table import Table, raise_first
from lightning_modules.error import ConfigError, Problem, nearest
from lightning_modules.rows import cell
from lightning_modules.task.base import Task

_HAS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def label_columns(task: Task) -> Sequence[str]:
    """Return the columns of 0 and 1 that say which labels a row has; empty if it has none."""
    return getattr(task, "label_columns", None) or ()


def with_labels(table: Table, column: str, task: Task) -> tuple[Table, list[str]]:
    """Return a table whose column of labels holds lists, and notes on how they were read.

    Args:
        table: The table.
        column: The column of labels; with columns of 0 and 1, the one to write.
        task: Its settings `separator` and `label_columns`, if it has them, say how to read labels.

    Raises:
        ConfigError: A column of 0 and 1 is missing.
        DataError: It holds another value.

    """
    separator: str | None = getattr(task, "separator", None)
    columns = label_columns(task)
    if columns:
        return _of_columns(table, column, columns)
    if separator and column in table.columns:
        return _split(table, column, separator)
    return table, []


def _split(table: Table, column: str, separator: str) -> tuple[Table, list[str]]:
    lists = [_parts(row.get(column), separator) for row in table.rows]
    rows = [{**row, column: each} for row, each in zip(table.rows, lists, strict=True)]
    note = f"{table.path}: {column} read as labels between {separator!r}"
    empty = sum(each == [] for each in lists)
    return replace(table, rows=rows), [f"{note}; {empty} of {len(rows)} rows have none"]


def _parts(value: Any, separator: str) -> Any:
    if value is None:
        return []
    value = cell.from_json(value)
    if not isinstance(value, str):
        return value if isinstance(value, list) else [value]
    return [part.strip() for part in value.split(separator) if part.strip()]


def _of_columns(table: Table, column: str, columns: Sequence[str]) -> tuple[Table, list[str]]:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ConfigError(_no_column(table, name) for name in missing)
    rows, problems = [], []
    for number, row in enumerate(table.rows):
        found = []
        for name in columns:
            has = _HAS.get(str(cell.label(row.get(name))).lower())
            if has is None:
                where = f"{table.place(number)}:{name}"
                problems.append(Problem(where, "must be 0 or 1", row.get(name)))
            elif has:
                found.append(name)
        rows.append({**row, column: found})
    raise_first(problems)
    names = list(dict.fromkeys([*table.columns, column]))
    empty = sum(not row[column] for row in rows)
    note = f"{table.path}: read the labels {', '.join(columns)} from a column each"
    return replace(table, columns=names, rows=rows), [
        f"{note}; {empty} of {len(rows)} rows have none"
    ]


def _no_column(table: Table, name: str) -> Problem:
    near = nearest(name, table.columns)
    question = "" if near is None else f"Did you mean {near}? "
    fix = f"{question}Its columns: {', '.join(table.columns)}."
    return Problem("task.label_columns", f"must be columns of {table.path}", name, fix)
