"""One spelling for each value of a label, in all formats of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum

_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?|-?\.\d+")


class Spelling(Enum):
    """How labels are spelt."""

    value = "value"
    """By their value: True and true are one label, and so are 0.5 and 0.50."""
    written = "written"
    """As earlier versions spelt them (`lightning_modules.rows.earlier`)."""


def spelt(word: str) -> str:
    """Return a word as the label that it means: a number, true or false, or the word itself.

    >>> spelt("4.0"), spelt("-0"), spelt("TRUE"), spelt("007"), spelt("1e3")
    ('4', '0', 'true', '007', '1e3')
    """
    if word.lower() in ("true", "false"):
        return word.lower()
    return plain(Decimal(word)) if _DECIMAL.fullmatch(word) else word


def plain(value: Decimal) -> str:
    """Return a number without zeros at its end, and zero without a sign."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def respelt(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of an export, in their order, as rows have them now.

    Earlier versions kept True or 0.50 as it was written. If two labels have one value, all stay.

    >>> respelt(["True", "False"]), respelt(["1.1", "1.10"])
    (('true', 'false'), ('1.1', '1.10'))
    """
    found = tuple(map(spelt, labels))
    return found if len(set(found)) == len(found) else tuple(labels)
