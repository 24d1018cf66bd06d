"""Columns as Apache Arrow has them: Parquet, Arrow's own files and streams, and Feather."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.error import DataError, Problem, Verbatim


def read_arrow(path: Path, content: bytes, ending: str) -> Table:
    """Return the rows of a file that is of the format of `ending`; raise DataError otherwise."""
    import pyarrow

    kind, read = _READERS[ending]
    try:
        table = read(pyarrow.BufferReader(content))
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        reason = Verbatim((str(error).splitlines() or [type(error).__name__])[0])
        raise DataError(Problem(f"{path}", f"must be {kind} file", reason)) from None
    decimals = [field.name for field in table.schema if pyarrow.types.is_decimal(field.type)]
    for row in rows if decimals else ():
        for name in decimals:
            row[name] = _number(row[name])
    return Table(path, table.column_names, rows, range(1, len(rows) + 1))


def _parquet(file: Any) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file)


def _arrow(file: Any) -> Any:
    """Return the table of a file, or of a stream, as which `datasets` writes its own."""
    import pyarrow

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    with pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file) as reader:
        return reader.read_all()


_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    ".parquet": ("a Parquet", _parquet),
    ".arrow": ("an Arrow", _arrow),
    ".feather": ("a Feather", _arrow),
}
ARROW = tuple(_READERS)
"""Endings of files of columns."""


def _number(value: Decimal | None) -> Any:
    """Return a decimal as the number that it is; it stays text if a float would round it."""
    if value is None:
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value.normalize())
