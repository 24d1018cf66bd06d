"""Grid: try every combination of the listed values once, arm by arm.

Trial n is fixed before the study starts, so no combination is lost or repeated if workers fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from search.sampler.base import Sampler, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from search.space.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class Grid(Sampler):
    """Grid search."""

    is_finite: ClassVar[bool] = True

    @property
    def num_independent(self) -> float:
        return math.inf

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        endless = [
            parameter.path for parameter in space.parameters.values() if parameter.values is None
        ]
        return f"must support intervals such as that of {endless[0]}" if endless else None

    def points(self, space: Space) -> Sequence[Mapping[str, Any]]:
        return list(space.combinations())

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.samplers import RandomSampler

        # Used only for values that `search.enqueue` leaves open.
        return RandomSampler(seed=trial_seed(seed, number))
