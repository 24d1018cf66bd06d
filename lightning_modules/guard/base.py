"""A guard: a metric on other data, with a bound that a trained model must keep.

    at_most:  value <= b,   at_least: value >= b

where the bound b is a number, or is relative to the value u of the untouched model on the same
rows: b = u + share * |u|. The untouched model is the network as the strategy loads it, before it is
adapted and trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.run import Run

_SHARE = re.compile(r"\s*([+-]\d+(?:\.\d+)?)\s*%\s*")


@dataclass(frozen=True)
class Bound:
    """The values that a guard admits.

    Attributes:
        number: The bound itself, or by which share it differs from the untouched model's value.
        is_most: Whether values above it break the guard; otherwise those below it.
        is_share: Whether `number` is a share, e.g. 0.05 for `+5%`.

    """

    number: float
    is_most: bool
    is_share: bool

    def limit(self, untouched: float) -> float:
        """Return the last value that holds.

        >>> Bound(0.05, is_most=True, is_share=True).limit(2.0)
        2.1
        """
        return untouched + self.number * abs(untouched) if self.is_share else self.number

    def __str__(self) -> str:
        which = "at most" if self.is_most else "at least"
        return f"{which} {f'{100 * self.number:+g} %' if self.is_share else f'{self.number:g}'}"


def parse_bound(text: object, *, is_most: bool) -> Bound | None:
    """Return the bound that a number, or a share like `+5%`, stands for; None for other text.

    >>> str(parse_bound("+5%", is_most=True)), str(parse_bound(0.8, is_most=False))
    ('at most +5 %', 'at least 0.8')
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return Bound(float(text), is_most, is_share=False)
    share = _SHARE.fullmatch(text) if isinstance(text, str) else None
    return None if share is None else Bound(float(share[1]) / 100, is_most, is_share=True)


@dataclass(frozen=True)
class Subject:
    """A network to score, with what is needed to use it.

    Attributes:
        network: The network, trained or untouched.
        tokenizer: The tokenizer for its inputs.
        labels: The labels in the order of their class numbers.
        run: The run that it belongs to.
        hardware: Where and how precisely it computes.
        heartbeat: Called again and again while it is scored.

    """

    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    labels: Sequence[str]
    run: Run
    hardware: Hardware
    heartbeat: Callable[[], None]


class Loaded(Protocol):
    """The data of a guard, checked and read."""

    @property
    def size(self) -> str:
        """How much is scored, in words, e.g. `200 rows`."""

    @property
    def num_scored(self) -> int:
        """How many rows are scored."""

    @property
    def fingerprint(self) -> str:
        """Text that differs if other data are scored."""

    def score(self, subject: Subject) -> float:
        """Return the metric of a network; the network may be moved, but it is not changed."""


class Source(Protocol):
    """Where the data of a guard come from; a frozen dataclass, so that its `repr` names it."""

    def load(self, run: Run, labels: Sequence[str], guard: Guard) -> Loaded:
        """Read and check the data; load no model.

        Args:
            run: A run whose network is to be scored.
            labels: Its labels in the order of their class numbers.
            guard: The guard, with its metric and bound.

        Raises:
            UserError: This run's network cannot be scored so; places are keys of the guard.

        """


@dataclass(frozen=True)
class Guard:
    """A guard.

    Attributes:
        name: Its name, unique in a study.
        source: Where its data come from.
        metric: What is measured.
        bound: What a trained model must keep.
        max_rows: Rows to score at most; None scores all.

    """

    name: str
    source: Source
    metric: str
    bound: Bound
    max_rows: int | None = None

    def load(self, run: Run, labels: Sequence[str]) -> Loaded:
        """Read and check the guard's data for a run; load no model; raises like `Source.load`."""
        return self.source.load(run, labels, self)
