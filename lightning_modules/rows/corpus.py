"""The type of a row, and the checked rows of a data set by split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from lightning_modules.rows.columns import jsons_of, sorted_texts

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
        left_out: Which training rows are not trained on because they are in another split too.

    """

    splits: Mapping[str, Sequence[Row]]
    notes: tuple[str, ...] = ()
    read: Mapping[str, Sequence[Row]] | None = None
    left_out: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all rows read, in order: equal fingerprints mean the same data."""
        splits = self.splits if self.read is None else self.read
        return _sha256({split: jsons_of(rows) for split, rows in splits.items()})

    def with_fingerprint(self, fingerprint: str) -> Self:
        """Return the corpus with a fingerprint that is known, so that no row is read for it."""
        vars(self)["fingerprint"] = fingerprint
        return self

    @cached_property
    def pool_fingerprint(self) -> str:
        """The same whichever of the training rows were taken as validation rows, in any order."""
        splits = {**(self.splits if self.read is None else self.read)}
        pool = sorted_texts(
            text for split in SPLITS[:2] for text in jsons_of(splits.pop(split, ()))
        )
        return _sha256({"pool": pool, **{name: jsons_of(rows) for name, rows in splits.items()}})


def fingerprint_of(rows: Iterable[Row]) -> str:
    """Return the SHA-256 of rows, in order."""
    return _sha256({"rows": jsons_of(rows)})


def _sha256(texts: Mapping[str, Iterable[str]]) -> str:
    digest = hashlib.sha256()
    for split in sorted(texts):
        digest.update(split.encode())
        for text in texts[split]:
            digest.update(text.encode())
    return digest.hexdigest()


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts of a row, or of a part of it.

    >>> list(texts_in({"text": [{"role": "user", "content": "Hi."}], "label": 1}))
    ['user', 'Hi.']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(each)


def normalized(text: str) -> str:
    """Return the normalized text; texts with the same one count as duplicates.

    >>> normalized(" Not  BAD")
    'not bad'
    """
    found = " ".join(text.casefold().split())
    return text if found == text else found  # of two equal texts, one is kept in memory
