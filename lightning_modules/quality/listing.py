"""The rows of all splits in one list, with what findings compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightning_modules.data.leak import LABELLING
from lightning_modules.quality.finding import Place
from lightning_modules.rows.corpus import Row

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


@dataclass(frozen=True)
class Listing:
    """All rows, in the order train, validation, test; a row's number is its place in the lists.

    Attributes:
        task: The task.
        splits: The split of each row.
        rows: The rows.
        sources: By split that was read, its name and its rows in the order of the file,
            with None for those that cannot be used.

    """

    task: Task
    splits: Sequence[str]
    rows: Sequence[Row]
    sources: Mapping[str, tuple[str, Sequence[Row | None]]]

    @cached_property
    def texts(self) -> Sequence[str]:
        """The normalized text of each row; rows with equal ones are duplicates."""
        return [self.task.identity(row) for row in self.rows]

    @cached_property
    def labels(self) -> Sequence[str | None]:
        """The label of each row as text; None if it has none."""
        return [_text_of(row.get("label")) for row in self.rows]

    @cached_property
    def names(self) -> Sequence[str]:
        """The splits that have rows, in order."""
        return list(dict.fromkeys(self.splits))

    @property
    def has_classes(self) -> bool:
        """Whether each row has one label of a few."""
        return self.has_labels and isinstance(self.rows[0]["label"], str)

    @property
    def has_numbers(self) -> bool:
        """Whether each row has a number to predict."""
        label = self.rows[0].get("label") if self.rows else None
        return isinstance(label, float)

    @property
    def has_labels(self) -> bool:
        """Whether equal texts must have equal labels: not so for summaries and answers."""
        label = self.rows[0].get("label") if self.rows else None
        return self.task.auto_class in LABELLING and isinstance(label, str | list)

    def numbers(self, *splits: str) -> list[int]:
        """Return the rows of some splits."""
        return [number for number, split in enumerate(self.splits) if split in splits]

    def place(self, number: int) -> Place:
        """Return a row with where it is."""
        row, split = self.rows[number], self.splits[number]
        return Place(split, self._where(row), self.task.text_of(row), self.labels[number])

    def _where(self, row: Row) -> str:
        return next(
            f"{name} row {numbers[id(row)]}"
            for name, numbers in self._numbered
            if id(row) in numbers
        )

    @cached_property
    def _numbered(self) -> list[tuple[str, dict[int, int]]]:
        """By source, its name and the number of each row."""
        return [
            (name, {id(row): number for number, row in enumerate(rows, start=1)})
            for name, rows in self.sources.values()
        ]


def listing_of(
    task: Task,
    splits: Mapping[str, Sequence[Row]],
    sources: Mapping[str, tuple[str, Sequence[Row | None]]],
) -> Listing:
    """Return the rows of a corpus as one list."""
    names = [name for name, rows in splits.items() for _ in rows]
    return Listing(task, names, [row for rows in splits.values() for row in rows], sources)


def _text_of(label: object) -> str | None:
    if label is None or isinstance(label, str):
        return label
    return " ".join(map(str, label)) if isinstance(label, list) else str(label)
