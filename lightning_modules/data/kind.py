"""What a column of labels looks like: words among numbers, and one value written in several ways.

A word among numbers is often a mistake, and 1.1 and 1.10 may be two versions of a program: both are
said, because only a person can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lightning_modules.data.table import Table

NUM_LABELS = 50  # a column of more labels is no list of classes, e.g. of answers
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUTH = ("true", "false")
_SEVERAL = {"a number": "numbers", "a word": "words"}


def kind_of(label: str) -> str:
    """Return the kind of a label.

    >>> kind_of("4"), kind_of("true"), kind_of("good")
    ('a number', 'true or false', 'a word')
    """
    if _NUMBER.fullmatch(label):
        return "a number"
    return "true or false" if label in _TRUTH else "a word"


def kind_notes(table: Table, column: str, labels: Sequence[str]) -> Iterator[str]:
    """Yield a note on the first row whose label is of another kind than those above it."""
    if not labels or len(set(labels)) > NUM_LABELS:
        return
    kinds = {label: kind_of(label) for label in dict.fromkeys(labels)}
    first = kinds[labels[0]]
    for number, label in enumerate(labels):
        if kinds[label] != first:
            others = sum(kinds[each] != first for each in labels)
            above = _SEVERAL.get(first, first)
            are = "is" if others == 1 else "are"
            yield (
                f"{table.place(number)}:{column}: {label!r} is {kinds[label]}, but the labels "
                f"above it are {above}, e.g. {labels[0]!r}; {others:,} of {len(labels):,} "
                f"labels {are} of another kind"
            )
            return


def spelling_notes(table: Table, column: str, labels: Sequence[str]) -> Iterator[str]:
    """Yield a note on labels that are written in several ways, e.g. 1 and 1.0."""
    ways: dict[str, dict[str, None]] = {}
    for row, label in zip(table.rows, labels, strict=True):
        ways.setdefault(label, {})[str(row.get(column)).strip()] = None
    several = {label: list(found) for label, found in ways.items() if len(found) > 1}
    if not several or len(ways) > NUM_LABELS:
        return
    label, found = next(iter(several.items()))
    more = f", and so for {len(several) - 1} more" if len(several) > 1 else ""
    yield f"{table.path}:{column}: {' and '.join(found)} are read as one label, {label!r}{more}"
