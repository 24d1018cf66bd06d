"""Independent random draws: the baseline, and hard to beat with few trials.

Paper: Bergstra and Bengio 2012 (JMLR 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.sampler.base import Sampler

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Random search."""

    def build(self, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
