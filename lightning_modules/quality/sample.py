"""Which rows the findings look at that read every word: a fixed number, drawn at random."""

from __future__ import annotations

import random

from lightning_modules.quality.listing import Listing

MOST = 50_000
"""Most rows that are embedded."""
READ = ("train", "validation")
"""The splits that are read; test rows are only compared and counted."""


def sample(listing: Listing, most: int = MOST) -> list[int]:
    """Return the numbers of at most `most` training and validation rows, in order."""
    numbers = listing.numbers(*READ)
    if len(numbers) <= most:
        return numbers
    return sorted(random.Random(0).sample(numbers, most))
