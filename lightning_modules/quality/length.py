"""How long the texts are, in characters and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightning_modules.quality.finding import Finding
from lightning_modules.quality.listing import Listing

SHARES = (0.5, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Lengths(Finding):
    """Quantiles of the lengths of the training and validation texts.

    Attributes:
        characters: The lengths that hold a share of the texts, by that share, e.g. `0.95`.
        words: The same in words, which are separated by spaces.

    """

    characters: Mapping[str, int]
    words: Mapping[str, int]

    name: ClassVar[str] = "lengths"

    @property
    def is_fault(self) -> bool:
        return False

    def line(self) -> str:
        half, most, _, longest = self.words.values()
        half_, most_, _, longest_ = self.characters.values()
        return (
            f"half of the texts have at most {half:,} words ({half_:,} characters), 95 % {most:,} "
            f"({most_:,}), the longest {longest:,} ({longest_:,})"
        )

    def details(self) -> Iterator[str]:
        return iter(())


def find_lengths(listing: Listing, numbers: Sequence[int]) -> Lengths:
    """Measure the texts of some rows."""
    texts = [listing.task.text_of(listing.rows[number]) for number in numbers]
    return Lengths(
        _quantiles([len(text) for text in texts]), _quantiles([len(text.split()) for text in texts])
    )


def _quantiles(lengths: Sequence[int]) -> dict[str, int]:
    """Return the smallest length that holds each share.

    >>> _quantiles([1, 2, 3, 4])
    {'0.5': 2, '0.95': 4, '0.99': 4, '1.0': 4}
    """
    ordered = sorted(lengths)
    return {str(share): ordered[-int(-share * len(ordered) // 1) - 1] for share in SHARES}
