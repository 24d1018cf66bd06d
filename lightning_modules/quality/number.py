"""The numbers that a regression learns: their range, outliers, and texts with several of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightning_modules.quality.duplicate import members
from lightning_modules.quality.finding import MAX_LISTED, NUM_SHOWN, Finding, Place, count
from lightning_modules.quality.listing import Listing

FAR = 10
"""A number this many standard deviations from the mean is an outlier."""


@dataclass(frozen=True)
class Numbers(Finding):
    """What the numbers of the training rows are like.

    Attributes:
        least: The least.
        largest: The largest.
        mean: Their mean.
        deviation: Their standard deviation.
        num_different: How many different ones there are.
        num_outliers: How many are more than `FAR` standard deviations from the mean.
        outliers: The rows with these, the largest first.
        num_conflicts: How many texts have several numbers, in all splits.
        conflicts: The rows of each of these texts.

    """

    least: float
    largest: float
    mean: float
    deviation: float
    num_different: int
    num_outliers: int
    outliers: Sequence[Place]
    num_conflicts: int
    conflicts: Sequence[Sequence[Place]]

    name: ClassVar[str] = "numbers"

    @property
    def is_fault(self) -> bool:
        return self.num_outliers > 0 or self.num_different < 2

    def line(self) -> str:
        line = (
            f"{self.least:g} to {self.largest:g}, {self.num_different:,} different, "
            f"mean {self.mean:.4g}, standard deviation {self.deviation:.4g}"
        )
        if self.num_outliers:
            far = count(self.num_outliers, "number is", "numbers are")
            line += f"; {far} more than {FAR} standard deviations from the mean"
        if self.num_conflicts:
            line += f"; {count(self.num_conflicts, 'text has', 'texts have')} several numbers"
        return line

    def details(self) -> Iterator[str]:
        yield from map(str, self.outliers[:NUM_SHOWN])
        for group in self.conflicts[:NUM_SHOWN]:
            others = ", ".join(f"{each.where} [{each.label}]" for each in group[1:])
            yield f"{group[0]} and {others}"


def find_numbers(listing: Listing) -> Numbers | None:
    """Describe the numbers of the training rows; None without any."""
    numbers = listing.numbers("train")
    if not numbers:
        return None
    values = {number: float(listing.rows[number]["label"]) for number in numbers}
    mean, deviation = statistics.fmean(values.values()), statistics.pstdev(values.values())
    far = [number for number in numbers if abs(values[number] - mean) > FAR * deviation]
    far.sort(key=lambda number: -abs(values[number] - mean))
    groups = [
        each
        for each in members(listing).values()
        if len({listing.rows[number]["label"] for number in each}) > 1
    ]
    return Numbers(
        min(values.values()),
        max(values.values()),
        mean,
        deviation,
        len(set(values.values())),
        len(far),
        [listing.place(number) for number in far[:MAX_LISTED]],
        len(groups),
        [[listing.place(number) for number in each] for each in groups[:MAX_LISTED]],
    )
