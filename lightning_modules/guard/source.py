"""Files and data sets as guards: rows for the run's own task, or plain text for one that writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.data.base import Data
from lightning_modules.data.read import read_table
from lightning_modules.data.table import Table
from lightning_modules.data.tabular import Tabular
from lightning_modules.guard.language import language_rows, writes_text
from lightning_modules.guard.rows import LoadedRows, limited, own_task
from lightning_modules.machine.path import typed_path
from lightning_modules.rows import cell

if TYPE_CHECKING:
    from lightning_modules.guard.base import Guard
    from lightning_modules.run import Run

TEXT = "text"


@dataclass(frozen=True)
class FileRows:
    """All rows of a file, with the columns of the run's own data.

    A network that writes also scores a file that lacks these columns: as plain text.

    Attributes:
        path: The file.

    """

    path: Path

    def load(self, run: Run, labels: Sequence[str], guard: Guard) -> LoadedRows:
        table = read_table(typed_path(self.path), "data")
        columns = _columns(run, table)
        needed = run.data.wanted(run.task) if isinstance(run.data, Tabular) else columns.values()
        if writes_text(run.task) and not set(needed) <= set(table.columns):
            column = columns.get(TEXT, TEXT)
            rows = table.read(
                {TEXT: column if column in table.columns else TEXT}, {TEXT: cell.text}
            )
            return language_rows(rows, guard)
        task = own_task(run, guard.metric, guard.bound)
        if isinstance(run.data, Tabular):
            rows = run.data.rows_of([table], task)
        else:
            rows = table.read(columns, task.cells, task.check_row)
        task.check_known(rows, labels)
        return LoadedRows(task, limited(rows, guard.max_rows), is_own=True)


@dataclass(frozen=True)
class DataRows:
    """The validation rows of another data set.

    Attributes:
        data: The data set.

    """

    data: Data

    def load(self, run: Run, labels: Sequence[str], guard: Guard) -> LoadedRows:
        task = own_task(run, guard.metric, guard.bound)
        data = self.data
        if isinstance(data, Tabular) and isinstance(run.data, Tabular):
            data = replace(data, spelling=run.data.spelling)  # as the labels of the run
        rows = data.load(task).splits["validation"]
        task.check_known(rows, labels)
        return LoadedRows(task, limited(rows, guard.max_rows), is_own=True)


def _columns(run: Run, table: Table) -> dict[str, str]:
    """Return the column of each field, by the run's own data, or of the same name."""
    if isinstance(run.data, Tabular):
        return run.data.columns_of(run.task)
    optional = run.task.optional
    return {name: name for name in run.task.cells if name not in optional or name in table.columns}
