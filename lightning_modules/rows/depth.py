"""How deep lists and objects may be nested, as what reads a value calls itself at each level."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100


def is_too_deep(text: str, value: Any) -> bool:
    """Return whether a value that was parsed from JSON text is nested deeper than `MAX_DEPTH`.

    >>> is_too_deep("[[1]]", [[1]])
    False
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        nested = [each for each in level if isinstance(each, list | dict)]
        if not nested:
            return False
        inner = (each.values() if isinstance(each, dict) else each for each in nested)
        level = [one for values in inner for one in values]
    return True
