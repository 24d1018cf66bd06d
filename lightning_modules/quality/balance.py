"""Rows per class and split; classes that are rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightning_modules.quality.finding import Finding, count, shown
from lightning_modules.quality.listing import Listing

RARE = 10
"""A class with fewer training rows is rare: a validation score of it is hardly more than luck."""
UNEVEN = 10
"""From this ratio of the largest to the smallest class on, the classes are called uneven."""
NUM_CLASSES = 12


@dataclass(frozen=True)
class Balance(Finding):
    """How many rows each split and class has.

    Attributes:
        rows: Rows by split.
        classes: Rows by split, by class; empty if the task has no classes.
        rare: Classes with fewer than `RARE` training rows.
        ratio: The largest class by the smallest, in training rows; None without classes.

    """

    rows: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    rare: Sequence[str]
    ratio: float | None

    name: ClassVar[str] = "balance"

    @property
    def is_fault(self) -> bool:
        return bool(self.rare) or (self.ratio is not None and self.ratio >= UNEVEN)

    def line(self) -> str:
        sizes = " / ".join(f"{number:,} {split}" for split, number in self.rows.items())
        if self.ratio is None:
            return f"{sizes} rows"
        trained = self.classes["train"]
        largest = max(trained, key=lambda name: trained[name])
        share = trained[largest] / sum(trained.values())
        line = (
            f"{sizes} rows, {count(len(trained), 'class', 'classes')}; the largest, "
            f"{shown(largest, 30)!r}, has {share:.0%} of train"
        )
        if self.ratio >= UNEVEN:
            line += f", {self.ratio:,.0f} times the smallest"
        if self.rare:
            line += f"; {count(len(self.rare), 'class has', 'classes have')} fewer than {RARE}"
        return line

    def details(self) -> Iterator[str]:
        trained = self.classes.get("train", {})
        for name in sorted(trained, key=lambda name: -trained[name])[:NUM_CLASSES]:
            each = ", ".join(f"{self.classes[split].get(name, 0):,} {split}" for split in self.rows)
            yield f"{shown(name, 30)}: {each}"
        if len(trained) > NUM_CLASSES:
            yield f"and {len(trained) - NUM_CLASSES:,} more"


def find_balance(listing: Listing) -> Balance:
    """Count the rows of each split and class."""
    rows = Counter(listing.splits)
    if not listing.has_classes or "train" not in rows:
        return Balance(dict(rows), {}, (), None)
    counts = Counter(zip(listing.splits, listing.labels, strict=True))
    classes: dict[str, dict[str, int]] = {split: {} for split in rows}
    for (split, label), number in sorted(counts.items(), key=lambda each: str(each[0])):
        classes[split][str(label)] = number
    trained = classes["train"]
    rare = [name for name in trained if trained[name] < RARE]
    ratio = max(trained.values()) / min(trained.values())
    return Balance(dict(rows), classes, rare, ratio)
