"""What every data set gives: a checked corpus of train, validation and test rows."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive

if TYPE_CHECKING:
    from lightning_modules.task.base import Task

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

    @property
    def has_test(self) -> bool:
        """Whether there are rows that nothing is chosen by."""
        return True

    @abstractmethod
    def load(self, task: Task) -> Corpus:
        """Read what the task needs, check and split; raise UserError, and load no model for it."""
