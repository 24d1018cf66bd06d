"""The base of data sets with rows in tables: columns, splits, a limit, warnings.

Only training rows are required. A missing split is taken from them at random, stratified by label
if there is one, with duplicates kept together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.data.base import Data
from lightning_modules.data.instruction import framed, prompt_columns
from lightning_modules.data.kind import kind_notes, spelling_notes
from lightning_modules.data.leak import OnLeak, without_leaks
from lightning_modules.data.missing import missing_notes
from lightning_modules.data.multi import label_columns, with_labels
from lightning_modules.data.split import Pool, stratified_part
from lightning_modules.data.table import Table, names_of, raise_first
from lightning_modules.data.templated import Templated, notes_of
from lightning_modules.error import ConfigError, DataError, Problem
from lightning_modules.rows import cell
from lightning_modules.rows.columns import cells_of, joined
from lightning_modules.rows.corpus import SPLITS, Corpus, Row
from lightning_modules.rows.earlier import earlier
from lightning_modules.rows.spelling import Spelling
from lightning_modules.schema import member_of, positive, within

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Tabular(Data):
    """Rows of tables.

    Attributes:
        train: Where the training rows are.
        validation: Where the validation rows are; None takes rows from train.
        test: Where the test rows are; None takes rows from train.
        text: Column with the text, or another input of the task.
        text_pair: Column with a second text, or None.
        label: Column with the target, or None.
        system: The system message of conversations that have none, or None; the task adds it.
        validation_fraction: Share of the training rows to take if `validation` is None, in
            [0, 0.5).
        test_fraction: The same for the test split; 0 means no test split.
        split_seed: Seed that decides which rows are taken.
        validation_seed: The same for the validation rows alone, so that the test rows stay; None
            uses `split_seed`.
        max_train_rows: Most training rows to use, > 0; the other splits are not affected.
            `split_seed` decides which, and a larger number adds rows to those of a smaller one.
            None uses all.
        spelling: How labels are spelt: by their `value`, e.g. True and true alike, or as `written`,
            which earlier versions did and studies keep that began so.
        on_leak: What happens to training rows that are also in validation or test, exactly or
            nearly: `drop` leaves them out of training, `error` refuses, `keep` trains on them.

    """

    train: str | None
    validation: str | None
    test: str | None
    text: str | None
    text_pair: str | None
    label: str | None
    system: str | None
    validation_fraction: float
    test_fraction: float
    split_seed: int
    validation_seed: int | None
    max_train_rows: int | None
    spelling: Spelling
    on_leak: OnLeak

    not_rows: ClassVar[frozenset[str]] = Data.not_rows | {"system"}

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "max_train_rows")
        yield from within(self, 0, 0.5, "validation_fraction", "test_fraction")
        if self.validation is None and self.validation_fraction == 0:
            rule = "must be > 0 if data.validation is null"
            fix = "Set it to 0.1, e.g.: trials are compared by their validation scores."
            yield Problem("validation_fraction", rule, 0, fix)

    @property
    def has_test(self) -> bool:
        return self.test is not None or self.test_fraction > 0

    @property
    def draws_validation(self) -> bool:
        return self.validation is None

    @abstractmethod
    def opener(self, task: Task) -> Callable[[str, Any], Sequence[Table]]:
        """Return a function from split and place (e.g. "train", "my.csv") to the split's tables."""

    def columns_of(self, task: Task) -> dict[str, str]:
        """Return the column of each of the task's fields.

        Raises:
            ConfigError: A column is not set, or the task has no use for the system message.

        """
        if self.system is not None and not hasattr(task, "system"):
            rule = f"must be null for task={member_of(task)}, which reads no conversations"
            raise ConfigError(Problem("data.system", rule, self.system))
        keys = self._keys(task)
        found = {f: getattr(task if f in task.own_fields else self, f) for f in task.cells}
        missing = [field for field in found if not found[field] and field not in task.optional]
        if missing:
            raise ConfigError(
                Problem(keys[field], "must be a column", found[field], f"Set {keys[field]}=COLUMN.")
                for field in missing
            )
        return {field: column for field, column in found.items() if column}

    def _keys(self, task: Task) -> dict[str, str]:
        """Return the config key that names the column of each of the task's fields."""
        own = task.own_fields
        return {field: f"{'task' if field in own else 'data'}.{field}" for field in task.cells}

    def wanted(self, task: Task) -> tuple[str, ...]:
        """Return the columns of a table that the task reads; raises like `columns_of`."""
        columns = self.columns_of(task)
        own = label_columns(task)
        if own:
            columns.pop("label", None)
        if (named := prompt_columns(task, columns.get("text", ""))) is not None:
            columns.pop("text")
            own = [*own, *named]
        return tuple(dict.fromkeys([*columns.values(), *own]))

    def rows_of(
        self, tables: Sequence[Table], task: Task, notes: list[str] | None = None
    ) -> Sequence[Row]:
        """Return the tables' rows by the task's fields, compact; raises like `Table.read`.

        Args:
            tables: The tables.
            task: The task.
            notes: How the rows are read is appended, if that is not plain.

        """
        parts: list[Sequence[Any]] = []
        problems: list[Problem] = []
        notes = [] if notes is None else notes
        frames: list[Templated] = []
        for table in tables:
            try:
                parts.append(self._rows(table, task, notes, frames))
            except DataError as error:
                if error.rest is None:
                    raise
                problems += error.every
                parts.append(error.rest)
        if problems:
            raise_first(problems, list(chain.from_iterable(parts)))
        notes += notes_of(frames)
        return joined(parts)

    def _rows(
        self, table: Table, task: Task, notes: list[str], frames: list[Templated]
    ) -> Sequence[Row]:
        columns = self.columns_of(task)
        table, labels = with_labels(table, columns.get("label", ""), task)
        frame = framed(table, columns, task)
        table, columns = frame.table, dict(frame.columns)
        cells = task.cells if self.spelling is Spelling.value else earlier(task.cells)
        try:
            rows = table.read(columns, cells, task.check_row, self._keys(task))
        except DataError as error:
            error.rest = None if error.rest is None else frame.marked_rest(error.rest)
            raise
        frames.append(frame)
        notes += labels
        if cells.get("label") is cell.label and "label" in columns:
            labels_once: dict[str, str] = {}
            found = [labels_once.setdefault(each, each) for each in cells_of(rows, "label")]
            notes += kind_notes(table, columns["label"], found)
            notes += spelling_notes(table, columns["label"], found)
        return frame.marked(rows)

    def load(self, task: Task) -> Corpus:
        opened = self.opener(task)
        splits: dict[str, Sequence[Row]] = {}
        problems: list[Problem] = []
        tables: list[Table] = []
        notes: list[str] = []
        for split, place in self.places():
            try:
                found = opened(split, place)
                splits[split] = self.rows_of(found, task, notes)
                tables.extend(found)
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        corpus = self.corpus_of(splits, task)
        missing = missing_notes(tables, self.columns_of(task))
        return replace(corpus, notes=(*reading_notes(tables), *notes, *missing, *corpus.notes))

    def corpus_of(self, splits: dict[str, Sequence[Row]], task: Task) -> Corpus:
        """Return the corpus of the rows that were read; raise UserError if they are unfit."""
        task.check_rows(splits["train"], str(self.train))
        self._take_missing(splits, task)
        every = dict(splits)
        kept = without_leaks(splits, task, self.on_leak)
        splits["train"] = self._limited(kept.rows, task)
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        first = [kept.left_out] if kept.left_out else []
        notes = (*first, *kept.notes, *self._notes(ordered, task))
        return Corpus(ordered, notes, every, kept.left_out)

    def _notes(self, splits: Mapping[str, Sequence[Row]], task: Task) -> Iterator[str]:
        import numpy as np

        texts = (task.identity(row) for rows in splits.values() for row in rows)
        if not any(character.isalpha() for text in texts for character in text):
            yield f"no text in data.text={self.text} has a letter: check the name of the column"
        trained = task.identities(splits["train"])
        for split in ("validation", "test"):
            leaked = int(np.isin(task.identities(splits.get(split, ())), trained).sum())
            if leaked:
                rows = "row is" if leaked == 1 else "rows are"
                yield f"{leaked} {split} {rows} also in train: {split} scores are too optimistic"
        yield from task.notes(splits)

    def places(self) -> Iterator[tuple[str, Any]]:
        """Yield each split that is read, and where: files, or a split of the hub's data set."""
        for split in SPLITS:
            place = getattr(self, split)
            if place is not None:
                yield split, place

    def _take_missing(self, splits: dict[str, Sequence[Row]], task: Task) -> None:
        num_rows = len(splits["train"])
        fractions = {"test": self.test_fraction, "validation": self.validation_fraction}
        fractions = {
            split: share for split, share in fractions.items() if split not in splits and share
        }
        if not fractions:
            return
        # Taken out, so that what is no longer needed of a large file is freed.
        pool = Pool(splits.pop("train"), task, {split: self._seed_of(split) for split in fractions})
        for split, fraction in fractions.items():
            share = fraction * num_rows / len(pool.rows)  # of all rows, including those taken
            splits[split] = pool.take(share, split)
            if not splits[split]:
                raise DataError(task.unsplittable(pool.rows, num_rows, split, str(self.train)))
        splits["train"] = pool.rows

    def _seed_of(self, split: str) -> int:
        if split == "validation" and self.validation_seed is not None:
            return self.validation_seed
        return self.split_seed

    def _limited(self, rows: Sequence[Row], task: Task) -> Sequence[Row]:
        if self.max_train_rows is None or self.max_train_rows >= len(rows):
            return rows
        num_strata = len({task.stratum(row) for row in rows})
        if self.max_train_rows < num_strata:
            rule = f"must be >= {num_strata}, the number of labels"
            raise DataError(Problem("data.max_train_rows", rule, self.max_train_rows))
        return stratified_part(rows, task, self.max_train_rows, self.split_seed)


def reading_notes(tables: Sequence[Table]) -> list[str]:
    """Return how files were read, once for those that were read alike, and what else to say."""
    alike: dict[str, list[Table]] = {}
    for table in tables:
        if table.reading:
            alike.setdefault(table.reading, []).append(table)
    notes = [f"{names_of(group)}: read with {reading}" for reading, group in alike.items()]
    return [*notes, *dict.fromkeys(note for table in tables for note in table.notes)]
