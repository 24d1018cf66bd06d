"""Tree-structured Parzen estimator: sample where good trials are dense and bad ones rare.

Multivariate, to model how e.g. learning rate and batch size interact; grouped, to model conditional
parameters; with the constant liar, so that parallel workers do not all try the same place. The
first trials come from a scrambled Sobol sequence, which is more even than random draws.

Papers: Bergstra et al. 2011 (NeurIPS); Watanabe 2023, arXiv:2304.11127.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.sampler.base import ModelSampler, trial_seed
from search.sampler.sobol import sobol_point, value_at

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.space.space import Space, Values


@dataclass(frozen=True, kw_only=True)
class Tpe(ModelSampler):
    """TPE.

    Attributes:
        num_startup_trials: Ended trials before the model is used, > 0. Until then, trial n takes
            point n of a scrambled Sobol sequence.

    """

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        num_startup = self.num_startup_trials

        class SobolFirst(TPESampler):
            def sample_independent(
                self,
                study: Study,
                trial: FrozenTrial,
                param_name: str,
                param_distribution: BaseDistribution,
            ) -> Any:
                ended = (TrialState.COMPLETE, TrialState.PRUNED)
                if len(study._get_trials(deepcopy=False, states=ended)) < num_startup:
                    names = sorted({*space.parameters, param_name})
                    point = sobol_point(len(names), number, seed)
                    return value_at(param_distribution, float(point[names.index(param_name)]))
                return super().sample_independent(study, trial, param_name, param_distribution)

        with warnings.catch_warnings():  # `group` is experimental in Optuna
            warnings.simplefilter("ignore", ExperimentalWarning)
            return SobolFirst(
                n_startup_trials=num_startup,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=trial_seed(seed, number),
            )
