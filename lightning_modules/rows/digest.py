"""Keys of rows as numbers, to compare millions of texts in 8 bytes each.

A key is the first 64 bits of a BLAKE2b hash. Among ten million texts, any two that differ have the
same one in 3 of a million data sets.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray


def digest(text: str) -> int:
    """Return the key of a text."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def digests(texts: Iterable[str]) -> NDArray[Any]:
    """Return the keys of texts, (N,): equal texts have equal ones."""
    import numpy as np

    found = array("Q", map(digest, texts))
    return np.frombuffer(found, np.uint64) if found else np.empty(0, np.uint64)


def digests_of(rows: Sequence[Row], key: Callable[[Row], str], name: str) -> NDArray[Any]:
    """Return the keys of rows, (N,), which columns remember.

    Args:
        rows: The rows.
        key: Returns the text of which a row's key is made.
        name: What it is remembered by.

    """

    def make() -> NDArray[Any]:
        return digests(map(key, rows))

    return rows.values(name, make) if isinstance(rows, Columns) else make()
