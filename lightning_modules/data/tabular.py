"""What data sets share whose rows have a text and a label column: splits, a limit, notes.

Only training rows are needed: a split that is missing is taken from them by chance, stratified
by label, with duplicates kept together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.data.base import (
    LABELS_REPEAT,
    SPLITS,
    Corpus,
    Data,
    Row,
    hardly_repeat,
)
from lightning_modules.data.split import normalized, split_off, stratified_part
from lightning_modules.data.table import Table
from lightning_modules.error import ConfigError, DataError, Problem, Verbatim
from lightning_modules.schema import positive, within


@dataclass(frozen=True, kw_only=True)
class Tabular(Data):
    """Rows with a text and a label column.

    Attributes:
        train: Where the training rows are.
        validation: Where the validation rows are; None takes rows from train.
        test: Where the test rows are; None takes rows from train.
        text: Column with the text.
        label: Column with the label, text or number.
        validation_fraction: Share of the training rows taken where `validation` is None, in
            [0, 0.5).
        test_fraction: The same for the test split; 0 means no test split.
        split_seed: Decides which rows are taken.
        max_train_rows: Training rows at most, > 0, the other splits untouched; `split_seed`
            decides which, and a greater number adds rows to those of a smaller one. None trains
            on all.

    """

    train: str | None
    validation: str | None
    test: str | None
    text: str
    label: str
    validation_fraction: float
    test_fraction: float
    split_seed: int
    max_train_rows: int | None

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "max_train_rows")
        yield from within(self, 0, 0.5, "validation_fraction", "test_fraction")
        if self.validation is None and self.validation_fraction == 0:
            rule = "must be > 0 where data.validation is null"
            yield Problem("validation_fraction", rule, 0, "Trials are judged by validation.")

    @abstractmethod
    def reader(self) -> Callable[[str, str], list[dict[str, str]]]:
        """Return a function of split and place (as `train`, "my.csv") that gives its rows."""

    def texts(self, table: Table) -> list[dict[str, str]]:
        """Return the table's rows as `{"text": ..., "label": ...}`; raises as `Table.texts`."""
        keys = {"text": "data.text", "label": "data.label"}
        return table.texts({"text": self.text, "label": self.label}, keys)

    def load(self) -> Corpus:
        read = self.reader()
        splits: dict[str, Sequence[Row]] = {}
        problems: list[Problem] = []
        for split, place in self._places():
            try:
                splits[split] = read(split, place)
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        self._check_labels(splits["train"])
        self._take_missing(splits)
        splits["train"] = self._limited(splits["train"])
        ordered = {split: splits[split] for split in SPLITS if split in splits}
        return Corpus(ordered, tuple(self._notes(ordered)))

    def _check_labels(self, rows: Sequence[Row]) -> None:
        """Refuse a label column that is no label, before rows are split by it."""
        num_labels = len({row["label"] for row in rows})
        if hardly_repeat(num_labels, len(rows)):
            raise DataError(self._no_labels(num_labels, len(rows)))

    def _no_labels(self, num_labels: int, num_rows: int) -> Problem:
        got = Verbatim(f"{num_labels} different ones in the {num_rows} rows of {self.train}")
        fix = f"Is {self.label!r} the right column? Name the one with the classes."
        return Problem("data.label", LABELS_REPEAT, got, fix)

    def _notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        texts = (row["text"] for rows in splits.values() for row in rows)
        if not any(character.isalpha() for text in texts for character in text):
            yield f"no text of data.text={self.text} has a letter in it: is it the right column?"
        yield from _notes(splits)

    def _places(self) -> Iterator[tuple[str, str]]:
        for split in SPLITS:
            place = getattr(self, split)
            if place is not None:
                yield split, place

    def _take_missing(self, splits: dict[str, Sequence[Row]]) -> None:
        num_rows = len(splits["train"])
        for split in ("test", "validation"):
            fraction: float = getattr(self, f"{split}_fraction")
            if split in splits or fraction == 0:
                continue
            rows = splits["train"]
            share = fraction * num_rows / len(rows)  # of the whole file, whatever was taken before
            splits["train"], splits[split] = split_off(rows, share, self.split_seed, split)
            if not splits[split]:
                rule = f"must have at least two different texts a label to take {split} rows from"
                num_labels = len({row["label"] for row in rows})
                if 1 < num_labels == num_rows:
                    raise DataError(self._no_labels(num_labels, num_rows))
                got = Verbatim(f"{num_rows} rows of {num_labels} labels")
                fix = f"Is data.label the right column? Else add rows, or set data.{split}."
                raise DataError(Problem("data.train", rule, got, fix))

    def _limited(self, rows: Sequence[Row]) -> Sequence[Row]:
        num_labels = len({row["label"] for row in rows})
        if self.max_train_rows is None or self.max_train_rows >= len(rows):
            return rows
        if self.max_train_rows < num_labels:
            rule = f"must be >= {num_labels}, the number of labels"
            raise DataError(Problem("data.max_train_rows", rule, self.max_train_rows))
        return stratified_part(rows, self.max_train_rows, self.split_seed)


def _notes(splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    trained = {normalized(row["text"]) for row in splits["train"]}
    for split in ("validation", "test"):
        leaked = sum(normalized(row["text"]) in trained for row in splits.get(split, ()))
        if leaked:
            rows = "row is" if leaked == 1 else "rows are"
            yield f"{leaked} {split} {rows} in train too: scores flatter that much"
    labels: dict[str, set[str]] = {}
    for rows_of_split in splits.values():
        for row in rows_of_split:
            labels.setdefault(normalized(row["text"]), set()).add(row["label"])
    torn = sum(len(found) > 1 for found in labels.values())
    if torn:
        yield f"{torn} {'text occurs' if torn == 1 else 'texts occur'} with different labels"
