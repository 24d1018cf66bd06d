"""Objects that stay in memory between runs: rows, tokenizers, networks, processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Values by key, each made once; callers must not change the values they get."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._pools: dict[str, dict[Hashable, int]] = {}

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value stored under `key`; call `make` the first time."""
        if key not in self._values:
            self._values[key] = make()
        value: T = self._values[key]
        return value

    def get_or_make_large(
        self,
        pool: str,
        key: Hashable,
        make: Callable[[], T],
        num_bytes: Callable[[T], int],
        max_bytes: int,
    ) -> T:
        """Return the value stored under `key`, like `get_or_make`, and drop those not used lately.

        The value in use may have any size. Before another is made, those of its pool that were not
        used for the longest time are dropped until the rest take at most `max_bytes`.

        Args:
            pool: The values that share `max_bytes`.
            key: Its key in the pool.
            make: Makes it the first time, and again if it was dropped.
            num_bytes: Returns the bytes of a value.
            max_bytes: Bytes of all values of the pool besides the one in use.

        """
        sizes = self._pools.setdefault(pool, {})
        if key in sizes:
            sizes[key] = sizes.pop(key)  # the last one is the last used
        else:
            while sum(sizes.values()) > max_bytes:
                oldest = next(iter(sizes))
                del sizes[oldest], self._values[pool, oldest]
            self._values[pool, key] = make()
            sizes[key] = num_bytes(self._values[pool, key])
        value: T = self._values[pool, key]
        return value
