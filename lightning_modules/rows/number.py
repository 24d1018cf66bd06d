"""The type of cells that hold a number."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from lightning_modules.rows.cell import EMPTY, Refused

LARGEST = 1e30
"""The largest size of a number, so that squares of differences are finite."""

# Narrower than Python's float(), which takes `1_000`, `nan` and digits of every script.
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMAS = re.compile(r"[+-]?[\d.]*,[\d.,]*", re.ASCII)
_FIX = "Correct the row, or set data.label to the column with the numbers."


def number(cell: Any) -> float | Refused:
    """Return a finite number.

    >>> number(" 3.50 "), number(4), number("1e-3")
    (3.5, 4.0, 0.001)
    >>> number("3,5").fix
    'Write a decimal point and no other separators, e.g. 3.5.'
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return EMPTY
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal):
        return Refused("must be a number", _FIX)
    if isinstance(cell, str) and (refused := _refused_text(cell.strip())) is not None:
        return refused
    try:
        found = float(cell)
    except OverflowError:  # a whole number of more than 308 digits
        found = math.inf
    if not math.isfinite(found):
        return Refused("must be a finite number", _FIX)
    if abs(found) > LARGEST:
        return Refused(f"must be at most {LARGEST:g} in size", "Use a larger unit.")
    return found


def _refused_text(text: str) -> Refused | None:
    """Return why a text is not a number; None if it is one."""
    if _COMMAS.fullmatch(text):
        fix = "Write a decimal point and no other separators, e.g. 3.5."
        return Refused("must be a number without a comma", fix)
    if _DECIMAL.fullmatch(text):
        return None
    is_named = text.lstrip("+-").lower() in ("nan", "inf", "infinity")
    return Refused("must be a finite number" if is_named else "must be a number", _FIX)
