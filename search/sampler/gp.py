"""Gaussian process: model the score as a smooth function and maximize the expected improvement.

The strongest sampler for few trials over a handful of numbers; a suggestion takes 0.4 s at 100
trials and 5 s at 1,000. It cannot model parameters that exist only in some arms.

Paper: Jones et al. 1998, Efficient global optimization; Optuna's implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.sampler.base import ModelSampler, condition, trial_seed
from search.sampler.observation import AllFinished

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.space.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class Gp(ModelSampler):
    """Gaussian process.

    Attributes:
        num_startup_trials: Trials drawn at random before the model is used, > 0.

    """

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        return condition(space)

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.samplers import GPSampler

        class Told(GPSampler):
            def sample_relative(
                self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
            ) -> dict[str, Any]:
                shown: Any = AllFinished(study)
                return super().sample_relative(shown, trial, search_space)

        return Told(seed=trial_seed(seed, number), n_startup_trials=self.num_startup_trials)
