"""Warm-up, stable, decay: rise, stay at the peak, fall linearly to 0 at the end.

Warm-up is measured in epochs, not as a share of the run, so runs that differ only in their epochs
are identical until the shorter one decays. Until then they can be compared, and pruned, at the same
number of examples. A run that ends within its first epoch, e.g. because of `trainer.max_steps`,
uses its own steps in place of the epoch's, since otherwise it could end during the rise; such a run
is not comparable with longer ones.

Paper: Hu et al. 2024 (MiniCPM), arXiv:2404.06395; Hägele et al. 2024, arXiv:2405.18392.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schedule.base import Length, Schedule, decay, warmup
from lightning_modules.schema import within


@dataclass(frozen=True, kw_only=True)
class Wsd(Schedule):
    """Warm-up, stable, decay.

    Attributes:
        warmup_epochs: Length of the rise in epochs, in [0, 1); a share of the run if the run is
            shorter than an epoch.
        decay_fraction: Share of the run that the fall takes, in [0, 1).

    """

    warmup_epochs: float
    decay_fraction: float

    def problems(self) -> Iterator[Problem]:
        yield from within(self, 0, 1, "warmup_epochs", "decay_fraction")

    def factor(self, step: int, length: Length) -> float:
        rise = warmup(step, self.warmup_epochs * length.first_epoch_steps)
        return rise * decay(step, self._decay_start(length), length.num_steps)

    def stable_steps(self, length: Length) -> int:
        if self.warmup_epochs and length.ends_within_first_epoch:
            return 0
        return self._decay_start(length)

    def _decay_start(self, length: Length) -> int:
        return length.num_steps - round(self.decay_fraction * length.num_steps)
