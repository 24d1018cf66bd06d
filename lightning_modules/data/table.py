"""Read a table file strictly: return every row, or raise an error with file, row and column.

CSV and TSV (a header line, UTF-8), JSON (a list of objects, or SQuAD's tree of questions), JSONL,
Parquet, CoNLL's columns, and plain text, which is one row with the column `text`, kept byte for
byte. Nothing is guessed and no bad row is dropped; a broken file raises DataError with its first
few problems.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_modules.data.conll import read_sentences
from lightning_modules.data.squad import is_squad, read_squad
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim, nearest
from lightning_modules.rows.cell import HALF_CHARACTER, Cell, Refused, is_whole

NUM_PROBLEMS_SHOWN = 10
MAX_SHOWN = 200  # characters of a cell

Check = Callable[[Mapping[str, Any]], tuple[str, Refused] | None]


@dataclass(frozen=True)
class Table:
    """Rows as they are in the file; `lines[i]` is the line of row i, counted from 1."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    lines: Sequence[int]

    def read(
        self,
        columns: Mapping[str, str],
        cells: Mapping[str, Cell],
        check: Check | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return each row as `{field: value}`.

        Args:
            columns: Column name by field, e.g. `{"text": "review"}`.
            cells: Cell type by field, for the fields of `columns`.
            check: Returns a field that does not fit the row's other fields, and why.
            keys: Config key of each field; None if it is `data.FIELD`.

        Raises:
            ConfigError: A column is missing.
            DataError: A cell or a row cannot be used.

        """
        absent = [
            Problem(
                f"data.{field}" if keys is None else keys[field],
                f"must be a column of {self.path}",
                column,
                self._existing_columns(column),
            )
            for field, column in columns.items()
            if column not in self.columns
        ]
        if absent:
            raise ConfigError(absent)
        problems: list[Problem] = []
        rows: list[dict[str, Any] | None] = []
        for line, row in zip(self.lines, self.rows, strict=True):
            given = {field: row.get(column) for field, column in columns.items()}
            values = {
                field: cells[field](cell) if is_whole(cell) else HALF_CHARACTER
                for field, cell in given.items()
            }
            refused = {field: v for field, v in values.items() if isinstance(v, Refused)}
            if not refused and check is not None and (found := check(values)) is not None:
                refused = dict([found])
            for field, why in refused.items():
                where = f"{self.path}:{line}:{columns[field]}"
                got = why.got if why.got is not None else row.get(columns[field])
                problems.append(Problem(where, why.rule, _shown(got), why.fix))
            rows.append(None if refused else values)
        raise_first(problems, rows)
        return [row for row in rows if row is not None]

    def _existing_columns(self, wanted: str) -> str:
        near = nearest(wanted, self.columns)
        question = "" if near is None else f"Did you mean {near}? "
        return f"{question}Its columns: {', '.join(self.columns)}."


def read_table(path: Path, key: str) -> Table:
    """Read the table file at `path`, which config key `key` names.

    Raises:
        ConfigError: There is no such file, or its extension is unknown.
        DataError: The file is empty, has no rows, or is broken.

    """
    if not path.is_file():
        raise ConfigError(Problem(key, "must be a file", str(path), _existing_files(path)))
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise ConfigError(Problem(key, f"must end in one of {known}", str(path)))
    if path.stat().st_size == 0:
        raise DataError(_nothing(path, "must not be empty", "0 bytes"))
    try:
        table = reader(path)
    except UnicodeDecodeError:
        raise DataError(_not_utf8(path)) from None
    if not table.rows:
        raise DataError(_nothing(path, "must have rows", "0 rows"))
    return table


def raise_first(problems: Sequence[Problem], rest: Sequence[Any] | None = None) -> None:
    """Raise DataError with the first few problems and the number of others, if there are any.

    It keeps all problems, and `rest`, the other rows, for `finesweep check`.
    """
    if not problems:
        return
    shown = list(problems[:NUM_PROBLEMS_SHOWN])
    num_others = len(problems) - len(shown)
    if num_others:
        shown[-1] = replace(shown[-1], fix=f"{shown[-1].fix} And {num_others} more.".lstrip())
    raise DataError(shown, problems, rest)


def _shown(cell: Any) -> object:
    """Return a cell for a message, truncated to `MAX_SHOWN` characters."""
    shown = repr(cell)
    return cell if len(shown) <= MAX_SHOWN else Verbatim(f"{shown[:MAX_SHOWN]}…")


def _read_delimited(delimiter: str) -> Callable[[Path], Table]:
    def read(path: Path) -> Table:
        rows: list[dict[str, str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        csv.field_size_limit(2**31 - 1)  # a document can exceed the default of 128 KiB
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            start = 1
            columns: list[str] = []
            try:
                for cells in reader:
                    line, start = start, reader.line_num + 1
                    if not cells:
                        continue
                    if not columns:
                        columns = [cell.strip() for cell in cells]
                        _check_header(path, line, columns)
                    elif len(cells) != len(columns):
                        rule = f"must have {len(columns)} cells, like the header"
                        problems.append(
                            Problem(
                                f"{path}:{line}",
                                rule,
                                len(cells),
                                f"Quote cells that hold {delimiter!r} or a line break.",
                            )
                        )
                    else:
                        rows.append(dict(zip(columns, cells, strict=True)))
                        lines.append(line)
            except csv.Error as error:
                raise DataError(
                    Problem(
                        f"{path}:{start}",
                        "must be quoted correctly",
                        Verbatim(str(error)),
                        'Write a quote inside a quoted cell twice: "".',
                    )
                ) from None
        raise_first(problems)
        return Table(path, columns, rows, lines)

    return read


def _check_header(path: Path, line: int, columns: Sequence[str]) -> None:
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise DataError(
            Problem(
                f"{path}:{line}", "column names must be unique", ", ".join(repeated), "Rename one."
            )
        )


def _read_jsonl(path: Path) -> Table:
    def objects() -> Iterator[tuple[int, Any]]:
        # Only "\n" ends a line: str.splitlines would also cut at U+2028 inside a string.
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(_not_json(path, number, error)) from None

    return _object_table(path, objects())


def _read_json(path: Path) -> Table:
    text = path.read_text(encoding="utf-8-sig")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise DataError(_not_json(path, line, error)) from None
    if is_squad(value):
        questions, problems = read_squad(str(path), value)
        raise_first(problems)
        return _object_table(path, enumerate(questions, start=1))
    if not isinstance(value, list):
        raise DataError(
            Problem(
                f"{path}",
                "must be a list of objects",
                Verbatim(type(value).__name__),
                'Write [{"text": ..., "label": ...}, ...].',
            )
        )
    return _object_table(path, enumerate(value, start=1))


def _object_table(path: Path, objects: Iterator[tuple[int, Any]]) -> Table:
    rows, lines, columns = [], [], dict[str, None]()
    problems = []
    for number, value in objects:
        if isinstance(value, dict):
            rows.append(value)
            lines.append(number)
            columns.update(dict.fromkeys(value))
        else:
            found = Verbatim(type(value).__name__)
            problems.append(Problem(f"{path}:{number}", "must be an object", found))
    raise_first(problems)
    return Table(path, list(columns), rows, lines)


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = Verbatim(str(error).splitlines()[0])
        raise DataError(Problem(f"{path}", "must be a Parquet file", reason)) from None
    rows = table.to_pylist()
    return Table(path, table.column_names, rows, range(1, len(rows) + 1))


def _read_text(path: Path) -> Table:
    # Not `read_text`, which turns "\r\n" into "\n".
    return Table(path, ["text"], [{"text": path.read_bytes().decode("utf-8")}], [1])


def _read_conll(path: Path) -> Table:
    return Table(path, *read_sentences(path))


_READERS: Mapping[str, Callable[[Path], Table]] = {
    ".conll": _read_conll,
    ".csv": _read_delimited(","),
    ".tsv": _read_delimited("\t"),
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}


def _not_json(path: Path, line: int, error: ValueError | RecursionError) -> Problem:
    if not isinstance(error, json.JSONDecodeError):  # a number with thousands of digits, or nesting
        return Problem(f"{path}:{line}", "must be JSON", Verbatim(str(error).split(";")[0]))
    fix = "If each line is an object, rename the file to .jsonl."
    fix = fix if error.msg == "Extra data" else ""
    got = Verbatim(f"{error.msg} at column {error.colno}")
    return Problem(f"{path}:{line}", "must be JSON", got, fix)


def _not_utf8(path: Path) -> Problem:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:  # readers decode in pieces and do not know the position
        line = content[: error.start].count(b"\n") + 1
        got = Verbatim(f"byte 0x{content[error.start]:02x}")
        fix = f"Convert it: iconv -f latin1 -t utf-8 {path.name}."
        return Problem(f"{path}:{line}", "must be UTF-8", got, fix)
    raise AssertionError("the file was not UTF-8 a moment ago")


def _nothing(path: Path, rule: str, found: str) -> Problem:
    fix = "Write a header or key names, and at least one row."
    return Problem(f"{path}", rule, Verbatim(found), fix)


def _existing_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder}."
    names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in _READERS)
    if not names:
        return f"There is no {', '.join(sorted(_READERS))} file in {folder}."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    # By the stem: a common extension makes any two short names similar.
    alike = [name for name in names if nearest(path.stem, [Path(name).stem])]
    near = nearest(path.name, alike)
    question = "" if near is None else f"Did you mean {path.with_name(near)}? "
    return f"{question}In {folder}: {', '.join(names[:8])}{more}."
