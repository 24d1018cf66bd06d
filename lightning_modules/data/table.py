"""A table: rows as they are in a file, and a strict check of the cells that a task needs.

Nothing is guessed and no bad row is dropped: a row that cannot be used raises DataError with its
file, line and column, together with the next few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_modules.error import ConfigError, DataError, Problem, Verbatim, nearest
from lightning_modules.rows.cell import HALF_CHARACTER, Cell, Refused, is_whole
from lightning_modules.rows.columns import compact
from lightning_modules.rows.corpus import Row

NUM_PROBLEMS_SHOWN = 10
MAX_SHOWN = 200  # characters of a cell
NUM_COLUMNS_SHOWN = 30
NUM_FILES_SHOWN = 3
NUM_NESTED_SHOWN = 8

_NAMES_AGAIN = ("must be a row", Verbatim("the names of the columns again"), "Remove the line.")
"""Files that were joined have them in their middle, where they would be a row with a new label."""

Check = Callable[[Mapping[str, Any]], tuple[str, Refused] | None]


@dataclass(frozen=True)
class Table:
    """Rows as they are in the file.

    Attributes:
        path: The file.
        columns: The columns' names, each once.
        rows: The rows by column.
        lines: `lines[i]` is the line of row i, counted from 1.
        reading: How the file was read, e.g. "tabs, no quoting"; empty if there is one way only.
        notes: What else must be said of the file.
        unusable: Columns that no task can use, and why.
        files: The file of each row, if they come from several.
        hint: What to try if a column is missing.

    """

    path: Path
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    lines: Sequence[int]
    reading: str = ""
    notes: tuple[str, ...] = ()
    unusable: Mapping[str, Problem] = dataclasses.field(default_factory=dict)
    files: Sequence[Path] | None = None
    hint: str = ""

    def read(
        self,
        columns: Mapping[str, str],
        cells: Mapping[str, Cell],
        check: Check | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> Sequence[Row]:
        """Return each row as `{field: value}`.

        They are compact: of many rows, only few are dicts at once.

        Args:
            columns: Column name by field, e.g. `{"text": "review"}`.
            cells: Cell type by field, for the fields of `columns`.
            check: Returns a field that does not fit the row's other fields, and why.
            keys: Config key of each field; None if it is `data.FIELD`.

        Raises:
            ConfigError: A column is missing.
            DataError: A cell or a row cannot be used.

        """
        existing = set(self.columns)
        absent = [
            Problem(
                f"data.{field}" if keys is None else keys[field],
                f"must be a column of {self.path}",
                column,
                self.existing_columns(column),
            )
            for field, column in columns.items()
            if column not in existing
        ]
        if absent:
            raise ConfigError(absent)
        used = dict.fromkeys(columns.values())
        raise_first([self.unusable[column] for column in used if column in self.unusable])
        problems: list[Problem] = []
        refused: list[int] = []

        def usable() -> Iterator[dict[str, Any]]:
            for number, row in enumerate(self.rows):
                given = {field: row.get(column) for field, column in columns.items()}
                if len(used) > 1 and all(row.get(column) == column for column in used):
                    problems.append(Problem(self.place(number), *_NAMES_AGAIN))
                    refused.append(number)
                    continue
                values = {
                    field: cells[field](cell) if is_whole(cell) else HALF_CHARACTER
                    for field, cell in given.items()
                }
                wrong = {field: v for field, v in values.items() if isinstance(v, Refused)}
                if not wrong and check is not None and (found := check(values)) is not None:
                    wrong = dict([found])
                for field, why in wrong.items():
                    where = f"{self.place(number)}:{columns[field]}"
                    got = why.got if why.got is not None else row.get(columns[field])
                    problems.append(Problem(where, why.rule, _shown(got), why.fix))
                if wrong:
                    refused.append(number)
                else:
                    yield values

        rows = compact(usable())
        if problems:
            raise_first(problems, _with_gaps(rows, refused))
        return rows

    def place(self, number: int) -> str:
        """Return the file and the line of row `number`, counted from 0."""
        path = self.path if self.files is None else self.files[number]
        return f"{path}:{self.lines[number]}"

    def existing_columns(self, wanted: str) -> str:
        """Return what to try if a column is missing: a similar name, and the names that exist."""
        near = self.similar_column(wanted)
        question = "" if near is None else f"Did you mean {near}? "
        within = ", ".join(self._nested_columns)
        nested = f" Within these: {within}." if within else ""
        return f"{question}Its columns: {self.shown_columns}.{nested} {self.hint}".rstrip()

    @property
    def _nested_columns(self) -> list[str]:
        """The first columns within those that hold objects (`data.file.nested`)."""
        first = self.rows[0] if self.rows else {}
        objects = ((name, value) for name, value in first.items() if isinstance(value, Mapping))
        found = [_brief(f"{name}.{key}") for name, value in objects for key in value]
        return found[:NUM_NESTED_SHOWN]

    def similar_column(self, wanted: str) -> str | None:
        """Return the column with the most similar name, if there is one."""
        return nearest(wanted, self.columns) if len(self.columns) <= 10_000 else None

    @property
    def shown_columns(self) -> str:
        """The names of the columns, of many only the first ones."""
        rest = len(self.columns) - NUM_COLUMNS_SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        return ", ".join(_brief(name) for name in self.columns[:NUM_COLUMNS_SHOWN]) + more


def _with_gaps(rows: Sequence[Row], refused: Sequence[int]) -> list[Row | None]:
    """Return rows with None in the places of those that were refused."""
    gaps, rest = set(refused), iter(rows)
    num_rows = len(rows) + len(gaps)
    return [None if number in gaps else next(rest) for number in range(num_rows)]


def names_of(tables: Sequence[Table]) -> str:
    """Return the names of the tables' files, of many only the first few."""
    more = f" and {len(tables) - NUM_FILES_SHOWN} more" if len(tables) > NUM_FILES_SHOWN else ""
    return ", ".join(str(each.path) for each in tables[:NUM_FILES_SHOWN]) + more


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


def _brief(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:60]}…"
