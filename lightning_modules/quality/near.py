"""Near duplicates: rows with texts at least 0.8 alike, within and between splits (`rows.near`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from lightning_modules.quality.duplicate import positive, repeats
from lightning_modules.quality.finding import MAX_LISTED, NUM_SHOWN, Finding, Place, Say
from lightning_modules.quality.listing import Listing
from lightning_modules.rows.near import LEAST, near_pairs


@dataclass(frozen=True)
class Twins:
    """Two rows, and how alike they are."""

    first: Place
    second: Place
    jaccard: float


@dataclass(frozen=True)
class NearDuplicates(Finding):
    """Texts that are nearly equal, and not equal.

    Attributes:
        within: By split, the rows with a near twin earlier in it.
        between: By two splits, e.g. `train/test`, the rows of the second with a near twin in the
            first.
        pairs: Near twins, those of different splits first.
        is_complete: Whether all candidates were compared.

    """

    within: Mapping[str, int]
    between: Mapping[str, int]
    pairs: Sequence[Twins]
    is_complete: bool

    name: ClassVar[str] = "near"

    @property
    def is_fault(self) -> bool:
        return bool(self.within or self.between)

    def line(self) -> str:
        what = f"a text of Jaccard similarity >= {LEAST} on character 5-grams"
        line = repeats(what, self.within, self.between)
        if self.is_complete:
            return line
        return f"{line}; there may be more: so many texts are alike that not all were compared"

    def details(self) -> Iterator[str]:
        for pair in self.pairs[:NUM_SHOWN]:
            yield f"{pair.jaccard:.2f}  {pair.first}"
            yield f"      {pair.second}"


def find_near(listing: Listing, say: Say) -> NearDuplicates:
    """Find the near duplicates; equal texts count once."""
    first_of: dict[str, int] = {}
    equal_to: dict[int, list[int]] = {}
    for number, (row, text) in enumerate(zip(listing.rows, listing.texts, strict=True)):
        key = listing.task.near_key(row)
        # Of two equal texts, one is kept: of a million they need 150 MB.
        first = first_of.setdefault(text if text == key else key, number)
        if first != number:
            equal_to.setdefault(first, []).append(number)
    texts, firsts = list(first_of), list(first_of.values())
    done = 0

    def advance(num_texts: int) -> None:
        nonlocal done
        done += num_texts
        say("looking for near duplicates", done, len(texts))

    def splits_of(place: int) -> Counter[str]:
        first = firsts[place]
        return Counter(listing.splits[number] for number in (first, *equal_to.get(first, ())))

    within: dict[str, set[int]] = {}
    between: dict[str, set[int]] = {}
    listed: list[tuple[bool, int, int, float]] = []
    near = near_pairs(texts, advance=advance)
    for pair in near.pairs:
        a, b = pair.first, pair.second
        splits = {a: splits_of(a), b: splits_of(b)}
        for split in splits[a].keys() & splits[b].keys():
            within.setdefault(split, set()).add(b)
        for one, other in combinations(listing.names, 2):
            for here, there in ((a, b), (b, a)):
                if one in splits[here] and other in splits[there]:
                    between.setdefault(f"{one}/{other}", set()).add(there)
        first, second = firsts[a], firsts[b]
        same = listing.splits[first] == listing.splits[second]
        listed.append((same, first, second, pair.jaccard))
    return NearDuplicates(
        positive(
            {name: sum(splits_of(each)[name] for each in found) for name, found in within.items()}
        ),
        positive(
            {
                name: sum(splits_of(each)[name.split("/")[1]] for each in found)
                for name, found in between.items()
            }
        ),
        [
            Twins(listing.place(first), listing.place(second), round(value, 4))
            for _, first, second, value in sorted(listed)[:MAX_LISTED]
        ],
        near.is_complete,
    )
