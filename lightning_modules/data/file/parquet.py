"""Parquet files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.error import DataError, Problem, Verbatim


def read_parquet(path: Path, content: bytes) -> Table:
    """Return a Parquet file's rows; raise DataError if it is none."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        reason = Verbatim((str(error).splitlines() or [type(error).__name__])[0])
        raise DataError(Problem(f"{path}", "must be a Parquet file", reason)) from None
    decimals = [field.name for field in table.schema if pyarrow.types.is_decimal(field.type)]
    for row in rows if decimals else ():
        for name in decimals:
            row[name] = _number(row[name])
    return Table(path, table.column_names, rows, range(1, len(rows) + 1))


def _number(value: Decimal | None) -> Any:
    """Return a decimal as the number that it is; it stays text if a float would round it."""
    if value is None:
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value.normalize())
