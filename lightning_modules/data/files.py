"""Your own files: CSV, TSV, JSON, JSONL or Parquet, one a split.

Example: `data=files data.train=my.csv data.text=review data.label=stars`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.data.table import read_table
from lightning_modules.data.tabular import Tabular
from lightning_modules.error import Problem


@dataclass(frozen=True, kw_only=True)
class Files(Tabular):
    """Rows from table files; `train`, `validation` and `test` are their paths."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.train is None:
            yield Problem("train", "must be a file", None, "Set data.train=my.csv.")

    def reader(self) -> Callable[[str, str], list[dict[str, str]]]:
        def read(split: str, path: str) -> list[dict[str, str]]:
            return self.texts(read_table(Path(path).expanduser(), f"data.{split}"))

        return read
