"""Your own files: CSV, TSV, JSON, JSONL, Parquet, CoNLL or plain text, one file per split.

How delimited files are written is found out and said; the settings name it where that fails.

Example: `data=files data.train=my.csv data.text=review data.label=stars`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.data.file.form import Form
from lightning_modules.data.file.large import LARGE_BYTES
from lightning_modules.data.kept import is_own, kept_corpus
from lightning_modules.data.read import Wanted, paths_of, read_tables
from lightning_modules.data.table import Table
from lightning_modules.data.tabular import Tabular
from lightning_modules.error import ConfigError, Problem
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import SPLITS, Corpus

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Files(Tabular):
    """Rows from table files; `train`, `validation` and `test` are their paths.

    Each is a file, several (`[a.csv,b.csv]` or `part-*.csv`), a file in a .zip, or a folder with a
    folder or a file for each class.

    Attributes:
        train: Where the training rows are.
        validation: Where the validation rows are; None takes rows from train.
        test: Where the test rows are; None takes rows from train.
        delimiter: What separates cells: `auto`, `comma`, `tab`, `semicolon`, `pipe`, `space`, the
            character itself, or `ending`: a comma in .csv, a tab in .tsv.
        quoting: Which quotes are around cells: `auto`, `none`, `double` ("), `single` ('), or
            `escaped`: " with a backslash before quotes in a cell.
        header: `names` if the first row has the columns' names, `none` if it is a row; `auto` takes
            it as names, unless `columns` has others.
        encoding: `auto`, or the files' encoding, e.g. `cp1252`.
        columns: The columns' names in the order of the file, e.g. `[label,text]`; None takes those
            of the first row.

    """

    words: ClassVar[frozenset[str]] = frozenset(SPLITS)

    train: Any
    validation: Any
    test: Any
    delimiter: str
    quoting: str
    header: str
    encoding: str
    columns: list[str] | None

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from self.form.problems()
        if self.train is None:
            yield Problem("train", "must be a file", None, "Set data.train=my.csv.")
        for split in SPLITS:
            place = getattr(self, split)
            places = place if isinstance(place, list) and place else [place]
            if place is not None and not all(isinstance(each, str) for each in places):
                fix = f"E.g. data.{split}=my.csv, or data.{split}=[a.csv,b.csv]."
                yield Problem(split, "must be a path, or a list of paths", place, fix)

    @property
    def form(self) -> Form:
        """How the files are written."""
        return Form(self.delimiter, self.quoting, self.header, self.encoding, self.columns)

    def load(self, task: Task) -> Corpus:
        self.columns_of(task)  # refuses settings that kept rows do not depend on, too
        if (files := self._large_files()) and is_own(self, task):
            return kept_corpus(self, task, files, partial(super().load, task))
        return super().load(task)

    def _large_files(self) -> list[Path]:
        """Return the files if they are there, and large; else nothing."""
        try:
            paths = [path for split, place in self.places() for path in paths_of(place, split)]
        except ConfigError:
            return []  # reported when they are read
        if not all(path.is_file() for path in paths):
            return []
        return paths if sum(path.stat().st_size for path in paths) >= LARGE_BYTES else []

    def opener(self, task: Task) -> Callable[[str, Any], list[Table]]:
        wanted = Wanted(self.wanted(task), has_words(task))

        def read(split: str, place: Any) -> list[Table]:
            return read_tables(place, f"data.{split}", self.form, wanted)

        return read


def has_words(task: Task) -> bool:
    """Return whether the task reads lists of words, as CoNLL's columns have them."""
    return task.cells.get("text") is cell.words
