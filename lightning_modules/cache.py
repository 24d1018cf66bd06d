"""What stays in memory from one run to the next: rows, tokenizers, networks, processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Values by key, each made once; nobody may change a value taken from it."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value kept under `key`; `make` it the first time."""
        if key not in self._values:
            self._values[key] = make()
        value: T = self._values[key]
        return value
