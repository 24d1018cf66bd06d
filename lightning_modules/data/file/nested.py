"""Columns within columns: `data.text` of `{"data": {"text": "Fine."}}`, `answers.0` of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

from lightning_modules.data.table import Table


def with_nested(table: Table, wanted: Sequence[str]) -> Table:
    """Return a table with the wanted columns that are within others, by their paths.

    A row that has nothing there has no value in the column.
    """
    existing = set(table.columns)
    found = [name for name in wanted if name not in existing and _is_nested(table, name)]
    if not found:
        return table
    return replace(table, columns=[*table.columns, *found], rows=_Rows(table.rows, found))


class _Rows(Sequence[Mapping[str, Any]]):
    """Rows with the columns within others, which are looked up when a row is asked for."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        self._rows, self._names = rows, names

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self._row, self._rows)

    @overload
    def __getitem__(self, number: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> list[Mapping[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> Mapping[str, Any] | list[Mapping[str, Any]]:
        if isinstance(number, slice):
            return list(map(self._row, self._rows[number]))
        return self._row(self._rows[number])

    def _row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**row, **{name: value_at(row, name) for name in self._names}}


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
