"""An example as a model reads it: its tokens, and which of them are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lightning_modules.batch.type import IGNORED


@dataclass(frozen=True)
class Shown:
    """A part of an example.

    Attributes:
        name: What it is, e.g. `input`.
        ids: Its tokens.
        trained: For each, whether it is a target of the loss; empty if none is.
        text: What it is if it has no tokens, e.g. a label.

    """

    name: str
    ids: Sequence[int] = ()
    trained: Sequence[bool] = ()
    text: str = ""

    def pieces(self, tokenizer: Any) -> Iterator[Piece]:
        """Yield its text in pieces that are alike; `tokenizer` is a `LightTokenizer`."""
        special = tokenizer.special_ids
        flags = self.trained or [False] * len(self.ids)
        marked = zip(self.ids, flags, (each in special for each in self.ids), strict=True)
        for (is_trained, is_special), group in groupby(marked, key=lambda each: each[1:]):
            ids = [token for token, *_ in group]
            text = tokenizer.spelled(ids) if is_special else tokenizer.decode(ids)
            yield Piece(text, is_trained=is_trained, is_special=is_special)


@dataclass(frozen=True)
class Piece:
    """A text of tokens that are all trained or all not, all special or all not."""

    text: str
    is_trained: bool
    is_special: bool


def shown_targets(name: str, inputs: Sequence[int], targets: Sequence[int]) -> Shown:
    """Return what a causal language model reads and is to write after it.

    Args:
        name: What it is.
        inputs: The tokens that it reads.
        targets: For each, the one to write next, or `IGNORED`.

    >>> shown_targets("input", [1, 5, 6], [IGNORED, 6, 2]).ids
    [1, 5, 6, 2]
    """
    ids, trained = list(inputs[:1]), [False]
    for place, target in enumerate(targets):
        follows = inputs[place + 1] if place + 1 < len(inputs) else None
        if target != IGNORED:
            ids.append(target)
            trained.append(True)
        if follows is not None and follows != target:  # e.g. the start of the next packed text
            ids.append(follows)
            trained.append(False)
    return Shown(name, ids, trained)


def labelled(value: Any) -> Shown:
    """Return a row's label.

    >>> labelled(["a", "b"]).text
    'a, b'
    """
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return Shown("label", text=text)
