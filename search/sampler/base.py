"""What every sampler gives, and the wrapper that makes its random numbers the trial's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.schema import Schema
from lightning_modules.seed import seed_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True, kw_only=True)
class Sampler(Schema):
    """A sampler."""

    @abstractmethod
    def build(self, seed: int) -> BaseSampler:
        """Return a fresh Optuna sampler; `seed` is in [0, 2**32)."""


def seeded_sampler(sampler: Sampler, study_seed: int) -> BaseSampler:
    """Return a sampler whose draws are a function of (study seed, trial number, results so far).

    Optuna's own draw from the state of the process, so that four workers with one seed
    suggested 12 different configurations in 20 trials; a fresh sampler an ask gives 20, and
    the same ones in every repetition.
    """
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

    class Seeded(BaseSampler):
        def __init__(self) -> None:
            self._number = -1
            self._inner: BaseSampler | None = None

        def _of(self, trial: FrozenTrial) -> BaseSampler:
            if self._inner is None or trial.number != self._number:
                seed = seed_of(study_seed, "sampler", trial.number) % 2**32
                self._number, self._inner = trial.number, sampler.build(seed)
            return self._inner

        def infer_relative_search_space(
            self, study: Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            return self._of(trial).infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return self._of(trial).sample_relative(study, trial, search_space)

        def sample_independent(
            self,
            study: Study,
            trial: FrozenTrial,
            param_name: str,
            param_distribution: BaseDistribution,
        ) -> Any:
            return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

        def after_trial(
            self,
            study: Study,
            trial: FrozenTrial,
            state: TrialState,
            values: Sequence[float] | None,
        ) -> None:
            self._of(trial).after_trial(study, trial, state, values)

    return Seeded()
