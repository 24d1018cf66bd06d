"""The base of every data set: a source of checked train, validation and test rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from lightning_modules.error import Problem
from lightning_modules.rows.corpus import Corpus
from lightning_modules.schema import Schema, countable, positive

if TYPE_CHECKING:
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class Data(Schema):
    """A data set.

    Attributes:
        batch_size: Examples per optimizer step (the effective batch), > 0.
        max_length: Most tokens per example, including special tokens, > 2; the rest is cut off.
            In a configuration, `auto` takes what holds 99% of the training texts, within the
            model's limit and the memory.

    """

    batch_size: int
    max_length: int

    not_rows: ClassVar[frozenset[str]] = frozenset(("batch_size", "max_length"))
    """Settings that affect how rows are batched and truncated, but not which rows are read."""

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "batch_size")
        if self.max_length <= 2:
            yield Problem("max_length", "must be > 2 tokens", self.max_length)
        yield from countable(self, "max_length")

    @property
    def rows_key(self) -> str:
        """A text that is equal for data sets that read the same rows."""
        return self._key(self.not_rows)

    @property
    def pool_key(self) -> str:
        """A text that is equal for those that read the same rows, into whichever validation split.

        See `draws_validation`.
        """
        return self._key(self.not_rows | {"validation_seed"})

    def _key(self, without: frozenset[str]) -> str:
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in without
        }
        return f"{type(self).__module__}.{type(self).__name__}({values})"

    @property
    def has_test(self) -> bool:
        """Whether there is a held-out test split."""
        return True

    @property
    def draws_validation(self) -> bool:
        """Whether the validation rows are drawn from the training rows, by `validation_seed`."""
        return False

    def pending(self) -> str | None:
        """Return in words what `load` will download; None if nothing."""
        return None

    @abstractmethod
    def load(self, task: Task) -> Corpus:
        """Read, check and split the fields that the task needs, without loading a model.

        Raises:
            UserError: A setting or a row cannot be used.

        """
