"""Conflicts: the same text with different labels, so that no model can be right on all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightning_modules.quality.duplicate import members
from lightning_modules.quality.finding import MAX_LISTED, NUM_SHOWN, Finding, Place, count
from lightning_modules.quality.listing import Listing


@dataclass(frozen=True)
class Conflicts(Finding):
    """Texts with several labels.

    Attributes:
        number: How many there are.
        groups: The rows of each text.

    """

    number: int
    groups: Sequence[Sequence[Place]]

    name: ClassVar[str] = "conflicts"

    @property
    def is_fault(self) -> bool:
        return self.number > 0

    def line(self) -> str:
        if not self.number:
            return "no text has different labels"
        return f"{count(self.number, 'text has', 'texts have')} different labels"

    def details(self) -> Iterator[str]:
        for group in self.groups[:NUM_SHOWN]:
            others = ", ".join(f"{each.where} [{each.label}]" for each in group[1:])
            yield f"{group[0]} and {others}"


def find_conflicts(listing: Listing) -> Conflicts:
    """Find the texts that occur with different labels."""
    groups = [
        numbers
        for numbers in members(listing).values()
        if len({listing.labels[number] for number in numbers}) > 1
    ]
    listed = [[listing.place(number) for number in numbers] for numbers in groups[:MAX_LISTED]]
    return Conflicts(len(groups), listed)
