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
            f"{name} row {number}"
            for name, numbers in self._numbered
            if (number := numbers.of(row)) is not None
        )

    @cached_property
    def _numbered(self) -> list[tuple[str, _Numbers]]:
        """By source, its name and the number of each row."""
        return [(name, _Numbers(rows)) for name, rows in self.sources.values()]


class _Numbers:
    """The number of each row in its source, counted from 1, found by the row's identity.

    A dict would need 110 bytes a row, sorted arrays need 16.
    """

    def __init__(self, rows: Sequence[Row | None]) -> None:
        import numpy as np

        identities_N = np.fromiter(map(id, rows), np.uint64, len(rows))
        self._order_N = np.argsort(identities_N, kind="stable")
        self._sorted_N = identities_N[self._order_N]

    def of(self, row: Row) -> int | None:
        """Return the number of a row; None if it is of another source."""
        import numpy as np

        identity = np.uint64(id(row))
        at = int(np.searchsorted(self._sorted_N, identity))
        if at == len(self._sorted_N) or self._sorted_N[at] != identity:
            return None
        return int(self._order_N[at]) + 1


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
