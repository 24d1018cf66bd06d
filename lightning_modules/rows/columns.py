"""Rows kept as columns of Arrow: in little more memory than that of their characters.

A million rows of a text and a label take some 450 bytes each as dicts, besides the characters; as
columns they take 16, and can be mapped from a file. A cell that is no text is kept as JSON.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

_Row = Mapping[str, Any]  # `rows.corpus.Row`, which is above this file

ROWS_AT_ONCE = 10_000
"""So many rows are dicts at once."""
FEW_ROWS = 20_000
"""So many rows stay dicts, which are faster to read."""
_TEXT, _JSON = "text:", "json:"
_MISSING: Any = object()


class Columns(Sequence[_Row]):
    """Rows that are made each time they are asked for; a slice of them is a list."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._batches = [batch for batch in table.to_batches() if len(batch)]
        self._table = table
        self._starts = [0]
        for batch in self._batches:
            self._starts.append(self._starts[-1] + len(batch))
        columns: list[str] = table.column_names
        self._fields = list(dict.fromkeys(name.partition(":")[2] for name in columns))
        self._values: dict[str, NDArray[Any]] = {}
        self._sha256: str | None = None

    @classmethod
    def of(cls, rows: Iterable[_Row]) -> Columns:
        """Return rows as columns; of an iterator, few are in memory at once."""
        import pyarrow

        rest = iter(rows)
        tables = []
        while some := list(islice(rest, ROWS_AT_ONCE)):
            tables.append(pyarrow.table(_columns_of(some)))
        return cls(_joined(tables))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, number: int) -> _Row: ...
    @overload
    def __getitem__(self, number: slice) -> list[_Row]: ...
    def __getitem__(self, number: int | slice) -> _Row | list[_Row]:
        if isinstance(number, slice):
            start, stop, step = number.indices(len(self))
            if step != 1:
                return [self[each] for each in range(start, stop, step)]
            part = self._table.slice(start, max(stop - start, 0))
            return list(chain.from_iterable(map(self._rows_of, part.to_batches())))
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(number)
        at = bisect_right(self._starts, place) - 1
        return self._rows_of(self._batches[at].slice(place - self._starts[at], 1))[0]

    def __iter__(self) -> Iterator[_Row]:
        for batch in self._parts():
            yield from self._rows_of(batch)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(map(_is_equal, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Columns.of({self[:3]}{'...' if len(self) > 3 else ''})"

    def cells(self, field: str) -> Iterator[Any]:
        """Yield the cells of a field, without the rows' other cells; raise KeyError if missing."""
        for batch in self._parts():
            for cell in _cells_of(batch, field):
                if cell is _MISSING:
                    raise KeyError(field)
                yield cell

    def part(self, is_kept: NDArray[Any]) -> Columns:
        """Return the rows that are marked, (N,), as columns."""
        import pyarrow

        part = Columns(self._table.filter(pyarrow.array(is_kept)))
        part._values = {name: values[is_kept] for name, values in self._values.items()}
        return part

    def values(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return a value of each row, (N, ...), that is made once and that parts of them keep."""
        if name not in self._values:
            self._values[name] = make()
        return self._values[name]

    def jsons(self) -> Iterator[str]:
        """Yield each row as `json.dumps(row, sort_keys=True)` writes it."""
        for batch in self._parts():
            columns = [
                [
                    cell if cell is _MISSING else f"{_quoted(field)}: {_json(cell)}"
                    for cell in _cells_of(batch, field)
                ]
                for field in sorted(self._fields)
            ]
            for cells in zip(*columns, strict=True):
                yield f"{{{', '.join(cell for cell in cells if cell is not _MISSING)}}}"

    @cached_property
    def as_list(self) -> list[_Row]:
        """The rows as dicts that stay in memory."""
        return list(self)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the rows as JSON, in order."""
        if self._sha256 is None:
            self._sha256 = sha256_of(self)
        return self._sha256

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """Return the rows of all parts."""
        return cls(_joined([each._table for each in parts]))

    def write(self, path: Path) -> None:
        """Write them to a file that `read` maps into memory."""
        import pyarrow

        with pyarrow.ipc.new_file(str(path), self._table.schema) as writer:
            writer.write_table(self._table)

    @classmethod
    def read(cls, path: Path, sha256: str | None = None) -> Columns:
        """Return the rows in a file, which are mapped and not read before they are asked for.

        Args:
            path: The file.
            sha256: What `sha256` returns for them, if it is known.

        """
        import pyarrow

        rows = cls(pyarrow.ipc.open_file(pyarrow.memory_map(str(path))).read_all())
        rows._sha256 = sha256
        return rows

    def _parts(self) -> Iterator[pyarrow.RecordBatch]:
        for batch in self._batches:
            for start in range(0, len(batch), ROWS_AT_ONCE):
                yield batch.slice(start, ROWS_AT_ONCE)

    def _rows_of(self, batch: pyarrow.RecordBatch) -> list[_Row]:
        fields = self._fields
        columns = [_cells_of(batch, field) for field in fields]
        if not any(_has_gaps(batch, field) for field in fields):
            return [dict(zip(fields, cells, strict=True)) for cells in zip(*columns, strict=True)]
        pairs = (zip(fields, cells, strict=True) for cells in zip(*columns, strict=True))
        return [{name: cell for name, cell in each if cell is not _MISSING} for each in pairs]


def compact(rows: Iterable[_Row]) -> Sequence[_Row]:
    """Return rows as columns, or as a list if they are few."""
    if isinstance(rows, Columns):
        return rows
    rest = iter(rows)
    first = list(islice(rest, FEW_ROWS + 1))
    return first if len(first) <= FEW_ROWS else Columns.of(chain(first, rest))


def joined(parts: Sequence[Sequence[_Row]]) -> Sequence[_Row]:
    """Return the rows of all parts, compact."""
    if len(parts) == 1:
        return parts[0]
    if parts and all(isinstance(each, Columns) for each in parts):
        return Columns.joined([each for each in parts if isinstance(each, Columns)])
    return compact(chain.from_iterable(parts))


def listed(rows: Sequence[_Row]) -> Sequence[_Row]:
    """Return rows that are to be read by number again and again, as those that are scored."""
    return rows.as_list if isinstance(rows, Columns) else rows


def cells_of(rows: Sequence[_Row], field: str) -> Iterator[Any]:
    """Yield the cells of a field."""
    return rows.cells(field) if isinstance(rows, Columns) else (row[field] for row in rows)


def part_of(rows: Sequence[_Row], is_kept: NDArray[Any]) -> Sequence[_Row]:
    """Return the rows that are marked, (N,), in their order."""
    if isinstance(rows, Columns):
        return rows.part(is_kept)
    return [row for row, keep in zip(rows, is_kept.tolist(), strict=True) if keep]


def jsons_of(rows: Iterable[_Row]) -> Iterator[str]:
    """Yield each row as JSON with sorted keys."""
    if isinstance(rows, Columns):
        return rows.jsons()
    return (json.dumps(row, sort_keys=True) for row in rows)


def sorted_texts(texts: Iterable[str]) -> Iterable[str]:
    """Return ASCII texts sorted; many of them in little more memory than their characters take."""
    rest = iter(texts)
    first = list(islice(rest, FEW_ROWS + 1))
    if len(first) <= FEW_ROWS:
        return sorted(first)
    import pyarrow
    import pyarrow.compute

    parts = [pyarrow.array(first, pyarrow.large_string())]
    while some := list(islice(rest, ROWS_AT_ONCE)):
        parts.append(pyarrow.array(some, pyarrow.large_string()))
    whole = pyarrow.concat_arrays(parts)
    del parts, first
    order = pyarrow.compute.sort_indices(whole)
    starts = range(0, len(order), ROWS_AT_ONCE)
    taken = (whole.take(order.slice(start, ROWS_AT_ONCE)) for start in starts)
    return chain.from_iterable(part.to_numpy(zero_copy_only=False).tolist() for part in taken)


def sha256_of(rows: Iterable[_Row]) -> str:
    """Return the SHA-256 of rows as JSON, in order."""
    digest = hashlib.sha256()
    for text in jsons_of(rows):
        digest.update(text.encode())
    return digest.hexdigest()


def _is_equal(one: object, other: object) -> bool:
    return one == other


def _columns_of(rows: Sequence[_Row]) -> dict[str, Any]:
    import pyarrow

    columns: dict[str, Any] = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        cells = [row.get(name, _MISSING) for row in rows]
        texts = [cell if type(cell) is str else None for cell in cells]
        try:
            columns[_TEXT + name] = pyarrow.array(texts, pyarrow.large_string())
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
            texts = [None] * len(rows)
            columns[_TEXT + name] = pyarrow.array(texts, pyarrow.large_string())
        pairs = zip(cells, texts, strict=True)
        others = [
            None if text is not None or cell is _MISSING else json.dumps(cell)
            for cell, text in pairs
        ]
        if any(other is not None for other in others):
            columns[_JSON + name] = pyarrow.array(others, pyarrow.large_string())
    if not columns and rows:
        raise ValueError("rows without a field cannot be kept as columns")
    return columns


def _joined(tables: Sequence[pyarrow.Table]) -> pyarrow.Table:
    import pyarrow

    if not tables:
        return pyarrow.table({})
    return pyarrow.concat_tables(tables, promote_options="default")


def _cells_of(batch: pyarrow.RecordBatch, field: str) -> list[Any]:
    """Return the cells of a field; `_MISSING` where a row lacks it."""
    # As an array of NumPy, which is several times as fast as `to_pylist`.
    cells: list[Any] = batch.column(_TEXT + field).to_numpy(zero_copy_only=False).tolist()
    if not batch.column(_TEXT + field).null_count:
        return cells
    if _JSON + field not in batch.schema.names:
        return [_MISSING if cell is None else cell for cell in cells]
    others = batch.column(_JSON + field).to_numpy(zero_copy_only=False).tolist()
    pairs = zip(cells, others, strict=True)
    return [_either(cell, other) for cell, other in pairs]


def _either(text: str | None, other: str | None) -> Any:
    if text is not None:
        return text
    return _MISSING if other is None else json.loads(other)


def _has_gaps(batch: pyarrow.RecordBatch, field: str) -> bool:
    """Return whether rows may lack a field."""
    num = batch.column(_TEXT + field).null_count
    if _JSON + field in batch.schema.names:
        num -= len(batch) - batch.column(_JSON + field).null_count
    return bool(num > 0)


_quoted = json.encoder.encode_basestring_ascii


def _json(cell: Any) -> str:
    return _quoted(cell) if type(cell) is str else json.dumps(cell, sort_keys=True)
