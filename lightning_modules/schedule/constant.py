"""Constant: rise over the first part of an epoch, then stay at the peak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schedule.base import Length, Schedule, warmup
from lightning_modules.schema import within


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """Linear warm-up, then constant.

    Attributes:
        warmup_epochs: Length of the rise in epochs, in [0, 1).

    """

    warmup_epochs: float

    def problems(self) -> Iterator[Problem]:
        yield from within(self, 0, 1, "warmup_epochs")

    def factor(self, step: int, length: Length) -> float:
        return warmup(step, self.warmup_epochs * length.steps_per_epoch)

    def stable_steps(self, length: Length) -> int:
        return length.num_steps
