"""Exact duplicates: rows whose texts differ at most in case and spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from lightning_modules.quality.finding import MAX_LISTED, NUM_SHOWN, Finding, Place, count
from lightning_modules.quality.listing import Listing


@dataclass(frozen=True)
class Duplicates(Finding):
    """Texts that occur more than once.

    Attributes:
        within: By split, the rows whose text an earlier row of it has.
        between: By two splits, e.g. `train/test`, the rows of the second whose text the first has.
        groups: Rows with the same text, the groups of several splits first.

    """

    within: Mapping[str, int]
    between: Mapping[str, int]
    groups: Sequence[Sequence[Place]]

    name: ClassVar[str] = "duplicates"

    @property
    def is_fault(self) -> bool:
        return any(self.between.values()) or any(self.within.values())

    def line(self) -> str:
        return f"{repeats('an equal text', self.within, self.between)}"

    def details(self) -> Iterator[str]:
        for group in self.groups[:NUM_SHOWN]:
            yield " = ".join([*(f"{each.where} ({each.split})" for each in group[1:]), ""]) + str(
                group[0]
            )


def find_duplicates(listing: Listing) -> Duplicates:
    """Find the texts that occur more than once."""
    by_text = members(listing)
    within: Counter[str] = Counter()
    between: Counter[str] = Counter()
    for numbers in by_text.values():
        tally = Counter(listing.splits[number] for number in numbers)
        within.update({split: number - 1 for split, number in tally.items()})
        for one, other in combinations(listing.names, 2):
            between[f"{one}/{other}"] += tally[other] if tally[one] else 0
    groups = sorted(
        by_text.values(), key=lambda numbers: -len({listing.splits[number] for number in numbers})
    )
    listed = [[listing.place(number) for number in group] for group in groups[:MAX_LISTED]]
    return Duplicates(positive(within), positive(between), listed)


def members(listing: Listing) -> dict[str, list[int]]:
    """Return the rows of each text that occurs more than once."""
    first: dict[str, int] = {}
    repeated: dict[str, list[int]] = {}
    for number, text in enumerate(listing.texts):
        if text not in first:
            first[text] = number
        else:
            repeated.setdefault(text, [first[text]]).append(number)
    return repeated


def positive(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0."""
    return {name: number for name, number in counts.items() if number}


def repeats(what: str, within: Mapping[str, int], between: Mapping[str, int]) -> str:
    """Return in words how many rows have a twin.

    >>> repeats("an equal text", {"train": 3}, {"train/test": 1})
    'an equal text: 3 rows within train; 1 test row is in train too'
    """
    parts = [f"{count(number, 'row')} within {split}" for split, number in within.items()]
    for pair, number in between.items():
        one, other = pair.split("/")
        parts.append(f"{count(number, f'{other} row is', f'{other} rows are')} in {one} too")
    return f"{what}: {'; '.join(parts) or 'no rows'}"
