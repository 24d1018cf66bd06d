"""Labels as earlier versions spelt them, for the studies that began with these labels.

They kept True and 0.50 as they were written, and gave one spelling to 4, 4.0 and "4" alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from lightning_modules.rows import cell
from lightning_modules.rows.cell import Cell, Refused

_WHOLE = re.compile(r"-?\d+\.0+")


def label(given: Any) -> str | Refused:
    """Return a label as text.

    >>> label("True"), label("0.50"), label("4.0"), label(1e-7)
    ('True', '0.50', '4', '1e-07')
    """
    if isinstance(given, str) and given.strip():
        word = given.strip()
        return word.split(".")[0] if _WHOLE.fullmatch(word) else word
    if isinstance(given, float) and math.isfinite(given):
        return str(int(given)) if given.is_integer() else str(given)
    return cell.label(given)


def labels(given: Any) -> list[str] | Refused:
    """Return the sorted distinct labels of a list.

    >>> labels('["True", 4.0]')
    ['4', 'True']
    """
    listed = cell.from_json(given)
    found = [label(each) for each in listed] if isinstance(listed, list) else []
    words = {each for each in found if isinstance(each, str)}
    is_right = isinstance(listed, list) and not any(isinstance(each, Refused) for each in found)
    return sorted(words) if is_right else cell.labels(given)


def earlier(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cell types of a task's fields, with labels as earlier versions spelt them."""
    before: Mapping[Cell, Cell] = {cell.label: label, cell.labels: labels}
    return {field: before.get(each, each) for field, each in cells.items()}
