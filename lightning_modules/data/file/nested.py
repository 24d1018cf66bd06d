"""Columns within columns: `data.text` of `{"data": {"text": "Fine."}}`, `answers.0` of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_modules.data.table import Table


def with_nested(table: Table, wanted: Sequence[str]) -> Table:
    """Return a table with the wanted columns that are within others, by their paths.

    A row that has nothing there has no value in the column.
    """
    existing = set(table.columns)
    found = [name for name in wanted if name not in existing and _is_nested(table, name)]
    if not found:
        return table
    rows = [{**row, **{name: value_at(row, name) for name in found}} for row in table.rows]
    return replace(table, columns=[*table.columns, *found], rows=rows)


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path; None if there is none.

    >>> value_at({"a": [{"b": 1}, {"b": 2}]}, "a.1.b")
    2
    """
    value: Any = row
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _is_nested(table: Table, name: str) -> bool:
    return "." in name and any(value_at(row, name) is not None for row in table.rows)
