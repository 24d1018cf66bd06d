"""The type of a row, and the checked rows of a data set by split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Row = Mapping[str, Any]
"""One row by field, e.g. `{"text": ..., "label": ...}`, with JSON values."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Checked rows by split.

    Attributes:
        splits: The rows to use.
        notes: Warnings about the rows.
        read: All rows that were read, if `splits` holds only a part of them. Runs on parts of the
            same rows count as runs on the same data, because they share the validation rows.

    """

    splits: Mapping[str, Sequence[Row]]
    notes: tuple[str, ...] = ()
    read: Mapping[str, Sequence[Row]] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all rows read, in order: equal fingerprints mean the same data."""
        digest = hashlib.sha256()
        splits = self.splits if self.read is None else self.read
        for split in sorted(splits):
            digest.update(split.encode())
            for row in splits[split]:
                digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()


def normalized(text: str) -> str:
    """Return the normalized text; texts with the same one count as duplicates.

    >>> normalized(" Not  BAD")
    'not bad'
    """
    return " ".join(text.casefold().split())
