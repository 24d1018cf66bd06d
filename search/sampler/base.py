"""The base class of samplers, and the wrapper that seeds each trial's random numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive
from lightning_modules.seed import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from search.space.space import Space, Values

    View = Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]


@dataclass(frozen=True, kw_only=True)
class Sampler(Schema):
    """A sampler."""

    is_finite: ClassVar[bool] = False
    """Whether it tries nothing but `points`."""

    @property
    def name(self) -> str:
        """The name to choose it by, e.g. `tpe`."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def num_independent(self) -> float:
        """How many trials, the first ones of a study, get values that depend on no result.

        A worker may draw those together, before any of them has ended.
        """
        return 0

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        """Return the rule that the space breaks for this sampler, or None."""
        return None

    def points(self, space: Space) -> Sequence[Mapping[str, Any]]:
        """Return values by config path to try before anything else."""
        return ()

    def note(self, space: Space) -> str | None:
        """Return a message for people about how it treats this space, or None."""
        return None

    @abstractmethod
    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        """Return a fresh Optuna sampler for one trial.

        Args:
            space: The search space.
            seed: The study's seed.
            number: The trial's number.
            defaults: The default of each arm by config path; none in a free study.
        """


@dataclass(frozen=True, kw_only=True)
class ModelSampler(Sampler):
    """A sampler whose model is used once some trials have ended.

    Attributes:
        num_startup_trials: Trials before the model is used, > 0.

    """

    num_startup_trials: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "num_startup_trials")

    @property
    def num_independent(self) -> float:
        return self.num_startup_trials


def trial_seed(seed: int, number: int) -> int:
    """Return the seed of a trial, in [0, 2**32)."""
    return seed_of(seed, "sampler", number) % 2**32


def condition(space: Space) -> str | None:
    """Return the rule that a conditional space breaks for some samplers, or None."""
    if not space.is_conditional:
        return None
    arms = [{parameter.name for parameter in arm.values()} for arm in space.arms.values()]
    name = min(name for arm in arms for name in arm if not all(name in other for other in arms))
    return f"must support conditional parameters: {name} exists in some arms only"


def several(num_objectives: int) -> str | None:
    """Return the rule that several objectives break for some samplers, or None."""
    return None if num_objectives == 1 else f"must support {num_objectives} objectives"


def seeded_sampler(
    sampler: Sampler,
    space: Space,
    study_seed: int,
    view: View | None = None,
    defaults: Sequence[Values] = (),
) -> BaseSampler:
    """Return a sampler whose draws are a function of (study seed, trial number, results so far).

    Optuna's samplers draw from the state of the process: four workers with one seed suggested
    only 12 different configurations in 20 trials. A fresh sampler per trial gives 20, and the same
    ones in every repetition.

    Args:
        sampler: The sampler.
        space: The search space.
        study_seed: The seed of all draws.
        view: From the trials of the study to those that the sampler learns from; None: all.
        defaults: The default of each arm by config path; none in a free study.

    """
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import TrialState

    class Seeded(BaseSampler):
        def __init__(self) -> None:
            self._number = -1
            self._inner: BaseSampler | None = None

        def _of(self, trial: FrozenTrial) -> BaseSampler:
            if self._inner is None or trial.number != self._number:
                self._number = trial.number
                self._inner = sampler.build(space, study_seed, trial.number, defaults)
            return self._inner

        def infer_relative_search_space(
            self, study: Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            return self._of(trial).infer_relative_search_space(inside(study, view), trial)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return self._of(trial).sample_relative(inside(study, view), trial, search_space)

        def sample_independent(self, study: Study, trial: FrozenTrial, *parameter: Any) -> Any:
            return self._of(trial).sample_independent(inside(study, view), trial, *parameter)

        def after_trial(
            self,
            study: Study,
            trial: FrozenTrial,
            state: TrialState,
            values: Sequence[float] | None,
        ) -> None:
            self._of(trial).after_trial(study, trial, state, values)

    return Seeded()


def inside(study: Any, view: View | None) -> Any:
    """Return the study as its sampler sees it."""
    return _Inside(study, view)


class _Inside:
    """A study as its sampler sees it, without trials outside its space, e.g. a default.

    They have no parameters, and a sampler that models the parameters that all trials share would
    have nothing to model.
    """

    def __init__(self, study: Any, view: View | None) -> None:
        self._study = study
        self._view = view

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Any = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return self._seen(self._study._get_trials(deepcopy, None, use_cache), states)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return self._seen(self._study.get_trials(deepcopy), states)

    def _seen(self, trials: list[FrozenTrial], states: Any) -> list[FrozenTrial]:
        seen = trials if self._view is None else self._view(trials)
        return [
            trial
            for trial in seen
            if (states is None or trial.state in states)
            and (trial.params or not trial.state.is_finished())
        ]

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()
