"""What every data set gives: a checked corpus of train, validation and test rows."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive

Row = Mapping[str, str]

SPLITS = ("train", "validation", "test")

LABELS_REPEAT = "must hold labels that repeat"
"""The rule that a column of numbers, dates or other texts breaks."""


def hardly_repeat(num_labels: int, num_rows: int) -> bool:
    """Say whether so many different labels are rather a column of something else."""
    return num_labels > max(20, num_rows // 2)


@dataclass(frozen=True)
class Corpus:
    """Checked rows by split; `notes` is what a careful colleague would point out."""

    splits: Mapping[str, Sequence[Row]]
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all rows, in order: equal fingerprints mean the same data."""
        digest = hashlib.sha256()
        for split in sorted(self.splits):
            digest.update(split.encode())
            for row in self.splits[split]:
                digest.update(json.dumps(row, sort_keys=True).encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Data(Schema):
    """A data set.

    Attributes:
        batch_size: Examples an optimizer step (the effective batch), > 0.
        max_length: Tokens an example at most, special ones included, > 2; the rest is cut off.

    """

    batch_size: int
    max_length: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "batch_size")
        if self.max_length <= 2:
            yield Problem("max_length", "must be > 2 tokens", self.max_length)

    @abstractmethod
    def load(self) -> Corpus:
        """Read, check and split; raise DataError or ConfigError, and load no model for it."""
