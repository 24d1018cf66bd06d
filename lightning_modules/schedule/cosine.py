"""Cosine: rise over the first share of the run, then half a cosine down to a share of the peak.

Paper: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schedule.base import Length, Schedule, decay, warmup
from lightning_modules.schema import within


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Linear warm-up, cosine decay.

    Attributes:
        warmup_fraction: Share of the run that the rise takes, in [0, 1).
        final_fraction: Final rate as a share of the peak rate, in [0, 1).

    """

    warmup_fraction: float
    final_fraction: float

    def problems(self) -> Iterator[Problem]:
        yield from within(self, 0, 1, "warmup_fraction", "final_fraction")

    def factor(self, step: int, length: Length) -> float:
        warmup_steps = round(self.warmup_fraction * length.num_steps)
        left = decay(step, warmup_steps, length.num_steps)
        fall = (1 - self.final_fraction) * (1 - math.cos(math.pi * left)) / 2
        return warmup(step, warmup_steps) * (self.final_fraction + fall)

    def stable_steps(self, length: Length) -> int:
        return 0
