"""What a row is, and the checked rows of a data set by split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Row = Mapping[str, Any]
"""One example, field by field, as `{"text": ..., "label": ...}`: values of JSON."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Checked rows by split.

    Attributes:
        splits: The rows.
        notes: What a careful colleague would point out.
        read: What was read, where `splits` hold a part of it. Runs on parts of one reading are
            of the same data, whose validation rows are the same.

    """

    splits: Mapping[str, Sequence[Row]]
    notes: tuple[str, ...] = ()
    read: Mapping[str, Sequence[Row]] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all rows read, in order: equal fingerprints mean the same data."""
        digest = hashlib.sha256()
        splits = self.splits if self.read is None else self.read
        for split in sorted(splits):
            digest.update(split.encode())
            for row in splits[split]:
                digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()


def normalized(text: str) -> str:
    """Return what two texts must share to count as duplicates.

    >>> normalized(" Not  BAD")
    'not bad'
    """
    return " ".join(text.casefold().split())
