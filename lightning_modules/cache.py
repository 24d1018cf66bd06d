"""Objects that stay in memory between runs: rows, tokenizers, networks, processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Values by key, each made once; callers must not change the values they get."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value stored under `key`; call `make` the first time."""
        if key not in self._values:
            self._values[key] = make()
        value: T = self._values[key]
        return value
