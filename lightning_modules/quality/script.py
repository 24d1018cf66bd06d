"""The scripts that the texts are written in (Latin, Cyrillic, Han, ...), and texts that mix them.

A letter's script is the first word of its Unicode name, which the standard library knows. Languages
of one script are not told apart.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from lightning_modules.quality.finding import NUM_SHOWN, Finding, Place
from lightning_modules.quality.listing import Listing

MIXED = 0.2
"""A text mixes scripts if its second one has at least this share of its letters."""
MAX_LETTERS = 2000  # of a text
RARE = 0.02
"""A script is rare if it is the main one of fewer than this share of the texts."""
TOGETHER = frozenset(("CJK", "HIRAGANA", "KATAKANA"))  # Japanese is written in all three


@dataclass(frozen=True)
class Scripts(Finding):
    """The main script of each text.

    Attributes:
        rows: Texts by their main script; `none` have no letters.
        mixed: How many mix scripts.
        examples: Texts of rare scripts, without letters, or that mix scripts.

    """

    rows: Mapping[str, int]
    mixed: int
    examples: Sequence[Place]

    name: ClassVar[str] = "scripts"

    @property
    def is_fault(self) -> bool:
        return bool(self.examples)

    def line(self) -> str:
        total = sum(self.rows.values())
        shares = ", ".join(f"{name} {_share(rows / total)}" for name, rows in self.rows.items())
        return f"{shares} of the texts; {self.mixed:,} mix scripts"

    def details(self) -> Iterator[str]:
        yield from map(str, self.examples[:NUM_SHOWN])


def find_scripts(listing: Listing, numbers: Sequence[int]) -> Scripts:
    """Find the scripts of some rows' texts."""
    main: dict[int, str] = {}
    mixed: list[int] = []
    for number in numbers:
        letters = scripts_of(listing.task.text_of(listing.rows[number])).most_common(2)
        main[number] = letters[0][0] if letters else "none"
        if len(letters) > 1 and letters[1][1] >= MIXED * (letters[0][1] + letters[1][1]):
            mixed.append(number)
    rows = Counter(main.values())
    odd = [each for each in numbers if rows[main[each]] < RARE * len(numbers)]
    shown = list(dict.fromkeys([*odd, *mixed]))[:100]
    ordered = dict(rows.most_common())
    return Scripts(ordered, len(mixed), [listing.place(each) for each in shown])


def scripts_of(text: str) -> Counter[str]:
    """Return the number of letters of each script.

    >>> scripts_of("да, yes!")
    Counter({'LATIN': 3, 'CYRILLIC': 2})
    """
    return Counter(script for letter in text[:MAX_LETTERS] if (script := _script(letter)))


@cache
def _script(letter: str) -> str:
    if not letter.isalpha():
        return ""
    name = unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]
    return "HAN/KANA" if name in TOGETHER else name


def _share(share: float) -> str:
    return "100 %" if share == 1 else f"{share:.1%}".replace("%", " %")
