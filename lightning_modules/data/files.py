"""Your own files: CSV, TSV, JSON, JSONL, Parquet, CoNLL or plain text, one file per split.

Example: `data=files data.train=my.csv data.text=review data.label=stars`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.data.table import read_table
from lightning_modules.data.tabular import Tabular
from lightning_modules.error import Problem

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Files(Tabular):
    """Rows from table files; `train`, `validation` and `test` are their paths."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.train is None:
            yield Problem("train", "must be a file", None, "Set data.train=my.csv.")

    def reader(self, task: Task) -> Callable[[str, str], list[dict[str, Any]]]:
        def read(split: str, path: str) -> list[dict[str, Any]]:
            return self.rows_of(read_table(Path(path).expanduser(), f"data.{split}"), task)

        return read
