"""Quasi-Monte Carlo: a scrambled Sobol sequence, which fills the space more evenly than chance.

Trial n takes point n of the sequence on any worker, so all workers share one sequence. Categories
are drawn at random.

Paper: Bousquet et al. 2017, Critical hyper-parameters, arXiv:1706.03200.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.sampler.base import Sampler, condition, trial_seed
from search.sampler.cmaes import drawn_at_random, numbers

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.space.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class Qmc(Sampler):
    """Quasi-Monte Carlo."""

    @property
    def num_independent(self) -> float:
        return math.inf

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        none = None if numbers(space) else "must support a space without numeric ranges"
        return condition(space) or none

    def note(self, space: Space) -> str | None:
        return drawn_at_random(space)

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import QMCSampler, RandomSampler

        distributions = {name: space.parameters[name].distribution for name in numbers(space)}

        class Sobol(QMCSampler):
            """Optuna's sampler, with the trial's number as the index in the sequence.

            Optuna uses a counter in the storage, which two workers may read at once, and the
            space of the first trial, which may lie outside.
            """

            def infer_relative_search_space(
                self, study: Study, trial: FrozenTrial
            ) -> dict[str, BaseDistribution]:
                return distributions

            def _find_sample_id(self, study: Study, search_space: dict[str, Any]) -> int:
                return number

        with warnings.catch_warnings():  # the sampler is experimental in Optuna
            warnings.simplefilter("ignore", ExperimentalWarning)
            return Sobol(
                qmc_type="sobol",
                scramble=True,
                seed=seed % 2**32,
                independent_sampler=RandomSampler(seed=trial_seed(seed, number)),
                warn_independent_sampling=False,  # `note` already says it
            )
