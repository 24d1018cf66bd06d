r"""Whether a worked answer ends right: its final answer, found by a pattern, is the reference's.

The pattern's one group is the final answer, and its last match in a text counts: `#### (.+)` finds
42 in `6 * 7 = 42\n#### 42`, as GSM8K writes answers (Cobbe et al. 2021, arXiv:2110.14168). Numbers
are compared as numbers: 1,000 and $1000.00 are equal. Other answers must be equal but for case and
spaces. A text without a match is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

from lightning_modules.error import Problem
from lightning_modules.rows.corpus import normalized

FINAL = "final_answer"
"""The name of the metric, and of the setting with the pattern."""
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
_CURRENCIES = "$€£¥"


def pattern_problems(pattern: str | None) -> Iterator[Problem]:
    """Yield the rules that a pattern breaks."""
    if pattern is None:
        return
    try:
        num_groups = re.compile(pattern).groups
    except re.error as error:
        fix = f"{str(error).capitalize()}. An example is '#### (.+)'."
        yield Problem(FINAL, "must be a regular expression", pattern, fix)
        return
    if num_groups != 1:
        fix = "Put ( ) around the answer, and (?: ) around anything else: '#### (.+)'."
        yield Problem(FINAL, "must have one group, the answer", pattern, fix)


def final_answer(pattern: str, text: str) -> str | None:
    r"""Return the final answer of a text; None if it has none.

    >>> final_answer("#### (.+)", "#### 3\nNo, 1 + 1 = 2.\n#### 2")
    '2'
    """
    found = None
    for match in re.finditer(pattern, text):
        found = match[1]
    return None if found is None else found.strip()


def finals(pattern: str, written: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return for each text 1 if its final answer is that of its reference, else 0."""
    pairs = zip(written, references, strict=True)
    return [
        float(same(final_answer(pattern, text), final_answer(pattern, right)))
        for text, right in pairs
    ]


def same(one: str | None, other: str | None) -> bool:
    """Return whether two final answers are equal; None equals nothing.

    >>> same("1,000", "$1000.0"), same("Yes ", "yes"), same("1,5", "15"), same(None, None)
    (True, True, False, False)
    """
    if one is None or other is None:
        return False
    numbers = _number(one), _number(other)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return normalized(one.rstrip(".")) == normalized(other.rstrip("."))


def _number(text: str) -> Decimal | None:
    """Return the number that a text is, with or without a currency; None if it is none."""
    text = text.strip().rstrip(".")
    sign = text[:1] if text[:1] in ("-", "+") else ""
    text = sign + text.removeprefix(sign).lstrip(_CURRENCIES).rstrip(_CURRENCIES).strip()
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
