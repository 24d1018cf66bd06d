"""Linear: rise over the first share of the run, then fall linearly to 0.

The usual schedule of BERT fine-tuning (Devlin et al. 2019, arXiv:1810.04805).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schedule.base import Length, Schedule, decay, warmup
from lightning_modules.schema import within


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """Linear warm-up and decay.

    Attributes:
        warmup_fraction: Share of the run that the rise takes, in [0, 1).

    """

    warmup_fraction: float

    def problems(self) -> Iterator[Problem]:
        yield from within(self, 0, 1, "warmup_fraction")

    def factor(self, step: int, length: Length) -> float:
        warmup_steps = round(self.warmup_fraction * length.num_steps)
        return warmup(step, warmup_steps) * decay(step, warmup_steps, length.num_steps)

    def stable_steps(self, length: Length) -> int:
        return 0
