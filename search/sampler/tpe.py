"""Tree-structured Parzen estimator: sample where good trials are dense and bad ones rare.

Multivariate, to model how e.g. learning rate and batch size interact; grouped, to model conditional
parameters; with the constant liar, so that parallel workers do not all try the same place.

Papers: Bergstra et al. 2011 (NeurIPS); Watanabe 2023, arXiv:2304.11127.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.error import Problem
from lightning_modules.schema import positive
from search.sampler.base import Sampler, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from search.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Tpe(Sampler):
    """TPE.

    Attributes:
        num_startup_trials: Trials drawn at random before the model is used, > 0.

    """

    num_startup_trials: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "num_startup_trials")

    def build(self, space: Space, seed: int, number: int) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():  # `group` is experimental in Optuna
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                n_startup_trials=self.num_startup_trials,
                multivariate=True,
                group=True,
                constant_liar=True,
                seed=trial_seed(seed, number),
            )
