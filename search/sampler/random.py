"""Independent random draws: the baseline, hard to beat with few trials.

Paper: Bergstra and Bengio 2012 (JMLR 13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.sampler.base import Sampler, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from search.space.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Random search."""

    @property
    def num_independent(self) -> float:
        return math.inf

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=trial_seed(seed, number))
