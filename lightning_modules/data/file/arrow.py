"""Columns as Apache Arrow has them: Parquet, Arrow's own files and streams, and Feather."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.error import DataError, Problem, reason_of
from lightning_modules.rows.columns import ROWS_AT_ONCE


def read_arrow(path: Path, content: bytes, ending: str) -> Table:
    """Return the rows of a file that is of the format of `ending`; raise DataError otherwise."""
    import pyarrow

    with _raising(path, ending):
        table = _WHOLE[ending](pyarrow.BufferReader(content))
        rows = _rows_of(table)
    names = table.column_names
    return Table(path, names, rows, range(1, len(rows) + 1), unusable=repeated(path, names))


def repeated(path: Path, names: Sequence[str]) -> dict[str, Problem]:
    """Return the names that several columns have, of which a row has the last, as unusable."""
    rule, fix = "column names must be unique", "Rename one."
    twice = [name for name, count in Counter(names).items() if count > 1]
    return {name: Problem(f"{path}", rule, name, fix) for name in twice}


@dataclass(frozen=True)
class Batches:
    """A file whose rows are read some at a time.

    Attributes:
        columns: The columns' names.
        num_rows: How many rows it has.
        rows: Reads them from the first on; raises DataError.

    """

    columns: Sequence[str]
    num_rows: int
    rows: Callable[[], Iterator[dict[str, Any]]]


def open_batches(path: Path, ending: str) -> Batches:
    """Return a file of which few rows are in memory at once; raises like `read_arrow`."""

    def rows() -> Iterator[dict[str, Any]]:
        with _raising(path, ending):
            for part in _IN_PARTS[ending](path)[2]:
                yield from _rows_of(part)

    with _raising(path, ending):
        columns, num_rows, _ = _IN_PARTS[ending](path)
    return Batches(columns, num_rows, rows)


@contextmanager
def _raising(path: Path, ending: str) -> Iterator[None]:
    """Raise DataError if the file is not of the format of `ending`."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError) as error:
        rule = f"must be {_KINDS[ending]} file"
        raise DataError(Problem(f"{path}", rule, reason_of(error))) from None


def _rows_of(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, or of a part of it; raise ArrowInvalid if it is damaged."""
    import pyarrow

    # Wrong offsets may end the process. Not of dates: JavaScript writes the time of day, too.
    kinds = enumerate(table.schema.types)
    table.select([n for n, kind in kinds if kind != pyarrow.date64()]).validate(full=True)
    rows: list[dict[str, Any]] = table.to_pylist()
    decimals = [field.name for field in table.schema if pyarrow.types.is_decimal(field.type)]
    for row in rows if decimals else ():
        for name in decimals:
            row[name] = _number(row[name])
    return rows


_Parts = tuple[Sequence[str], int, Iterable[Any]]
"""The columns' names, the number of rows, and parts of a table."""


def _parquet_parts(path: Path) -> _Parts:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    return file.schema_arrow.names, file.metadata.num_rows, file.iter_batches(ROWS_AT_ONCE)


def _arrow_parts(path: Path) -> _Parts:
    """Map a file into memory; what is compressed in it takes memory, but no Python objects."""
    import pyarrow

    table = _arrow(pyarrow.memory_map(str(path)))
    return table.column_names, len(table), table.to_batches(ROWS_AT_ONCE)


def _parquet(file: Any) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file).read()


def _arrow(file: Any) -> Any:
    """Return the table of a file, or of a stream, as which `datasets` writes its own."""
    import pyarrow

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    with pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file) as reader:
        return reader.read_all()


_KINDS = {".parquet": "a Parquet", ".arrow": "an Arrow", ".feather": "a Feather"}
_WHOLE: Mapping[str, Callable[[Any], Any]] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
}
_IN_PARTS: Mapping[str, Callable[[Path], _Parts]] = {
    ".parquet": _parquet_parts,
    ".arrow": _arrow_parts,
    ".feather": _arrow_parts,
}
ARROW = tuple(_KINDS)
"""Endings of files of columns."""


def _number(value: Decimal | None) -> Any:
    """Return a decimal as the number that it is; it stays text if a float would round it."""
    if value is None:
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value.normalize())
