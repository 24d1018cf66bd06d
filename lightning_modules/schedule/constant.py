"""Constant: rise over a fraction of the first epoch, then stay at the peak.

A run that ends within its first epoch rises over that fraction of its own steps.
"""

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
        warmup_epochs: Length of the rise in epochs, in [0, 1); a share of the run if the run is
            shorter than an epoch.

    """

    warmup_epochs: float

    def problems(self) -> Iterator[Problem]:
        yield from within(self, 0, 1, "warmup_epochs")

    def factor(self, step: int, length: Length) -> float:
        return warmup(step, self.warmup_epochs * length.first_epoch_steps)

    def stable_steps(self, length: Length) -> int:
        # A run that ends within its first epoch rises faster than any longer one.
        if self.warmup_epochs and length.ends_within_first_epoch:
            return 0
        return length.num_steps
