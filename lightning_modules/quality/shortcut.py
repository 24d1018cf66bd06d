"""Shortcuts: texts that contain their label, or labels that contain their text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightning_modules.quality.finding import MAX_LISTED, NUM_SHOWN, Finding, Place, count
from lightning_modules.quality.listing import Listing
from lightning_modules.rows.corpus import normalized

LEAST_LETTERS = 3
"""Shorter labels, e.g. 1 or no, are in many texts anyway."""
MANY = 0.05
"""From this share of the rows on, the label in the text is called a fault."""


@dataclass(frozen=True)
class Shortcuts(Finding):
    """Rows whose text and label contain one another, as whole words.

    Attributes:
        in_text: Rows whose text contains their label.
        others: Rows whose text contains the label of another class.
        in_label: Rows whose label contains their text.
        number: Rows that were looked at.
        examples: Rows of the first and third kind.

    """

    in_text: int
    others: int
    in_label: int
    number: int
    examples: Sequence[Place]

    name: ClassVar[str] = "shortcuts"

    @property
    def is_fault(self) -> bool:
        # A label that stands in texts of every class gives nothing away.
        gives_away = self.in_text >= MANY * self.number and self.in_text > 4 * self.others
        return gives_away or self.in_label >= MANY * self.number

    def line(self) -> str:
        texts = count(self.in_text, "text contains", "texts contain")
        labels = count(self.in_label, "label contains", "labels contain")
        return (
            f"{texts} the row's label (and {self.others:,} another label), {labels} the text, of "
            f"{self.number:,}"
        )

    def details(self) -> Iterator[str]:
        if self.is_fault:
            yield from map(str, self.examples[:NUM_SHOWN])


def find_shortcuts(listing: Listing, numbers: Sequence[int]) -> Shortcuts:
    """Compare the texts and labels of some rows."""
    labels = {number: normalized(listing.labels[number] or "") for number in numbers}
    names = set(labels.values()) if listing.has_classes else set()
    named = [re.escape(name) for name in sorted(names) if len(name) >= LEAST_LETTERS]
    any_name = re.compile(rf"(?<!\w)(?:{'|'.join(named)})(?!\w)") if named else None
    in_text, in_label, others = [], [], 0
    for number, label in labels.items():
        text = listing.texts[number]
        if len(label) >= LEAST_LETTERS and _has(text, label):
            in_text.append(number)
        if any_name is not None and set(any_name.findall(text)) - {label}:
            others += 1
        if len(text) >= LEAST_LETTERS and _has(label, text):
            in_label.append(number)
    shown = [listing.place(number) for number in [*in_label, *in_text][:MAX_LISTED]]
    return Shortcuts(len(in_text), others, len(in_label), len(labels), shown)


def _has(text: str, part: str) -> bool:
    """Return whether a part stands in a text as whole words.

    >>> _has("a nonsport text", "sport"), _has("good sport!", "sport")
    (False, True)
    """
    return part in text and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
