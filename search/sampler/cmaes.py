"""CMA-ES: move and stretch a normal distribution towards the good trials, generation by generation.

For hundreds of trials over two or more numbers. Categories have no order, so they are drawn at
random. Trials that diverged or were pruned count as bad ones, see `search.sampler.observation`.

Optuna's sampler keeps its state between trials as a pickle in the database, which runs the code
of anybody who can write there. Here a trial keeps the number of its generation only, and the state
is computed again from the results: generation g is updated with its first `population_size` ended
trials, by number.

Paper: Hansen and Ostermeier 2001, Completely derandomized self-adaptation in evolution strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.sampler.base import ModelSampler, condition, several, trial_seed
from search.sampler.observation import AllFinished, signs_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.space.space import Space, Values

GENERATION = "cma:generation"  # a trial's system attribute, also Optuna's name for it


@dataclass(frozen=True, kw_only=True)
class Cmaes(ModelSampler):
    """CMA-ES.

    Attributes:
        num_startup_trials: Finished random trials before the first generation, > 0.

    """

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        too_few = None
        if len(_open(space)) < 2:
            too_few = "must support a space with fewer than 2 numeric ranges"
        return condition(space) or several(num_objectives) or too_few

    def note(self, space: Space) -> str | None:
        return drawn_at_random(space)

    def build(
        self, space: Space, seed: int, number: int, defaults: Sequence[Values] = ()
    ) -> BaseSampler:
        from optuna.samplers import BaseSampler, RandomSampler

        distributions = {name: space.parameters[name].distribution for name in _open(space)}
        num_startup = self.num_startup_trials
        at_random = RandomSampler(seed=trial_seed(seed, number))

        class Replayed(BaseSampler):
            def infer_relative_search_space(
                self, study: Study, trial: FrozenTrial
            ) -> dict[str, BaseDistribution]:
                return distributions

            def sample_relative(
                self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
            ) -> dict[str, Any]:
                ended = [
                    other
                    for other in AllFinished(study).get_trials(deepcopy=False)
                    if other.state.name == "COMPLETE"
                    and distributions.keys() <= other.params.keys()
                ]
                if len(ended) < num_startup:
                    return {}
                return _next_point(study, trial, ended, distributions, trial_seed(seed, number))

            def sample_independent(self, *arguments: Any) -> Any:
                return at_random.sample_independent(*arguments)

        return Replayed()


def _next_point(
    study: Study,
    trial: FrozenTrial,
    ended: Sequence[FrozenTrial],
    distributions: dict[str, BaseDistribution],
    seed: int,
) -> dict[str, Any]:
    """Draw from the distribution of the current generation; store the generation's number."""
    import numpy as np
    from cmaes import CMA
    from optuna._transform import _SearchSpaceTransform

    unit_cube = _SearchSpaceTransform(distributions, transform_0_1=True)
    num = len(unit_cube.bounds)
    # Optuna's start: the centre, and a sixth of the range.
    state = CMA(np.full(num, 0.5), 1 / 6, unit_cube.bounds, n_max_resampling=10 * num, seed=seed)
    sign = signs_of(study)[0]
    while True:
        told = [t for t in ended if t.system_attrs.get(GENERATION) == state.generation]
        told = told[: state.population_size]
        if len(told) < state.population_size:
            break
        params = ({name: t.params[name] for name in distributions} for t in told)
        losses = (sign * (t.value or 0.0) for t in told)
        state.tell([(unit_cube.transform(p), loss) for p, loss in zip(params, losses, strict=True)])
    study._storage.set_trial_system_attr(trial._trial_id, GENERATION, state.generation)
    return dict(unit_cube.untransform(state.ask()))


def numbers(space: Space) -> list[str]:
    """Return the names of the parameters that are ranges of numbers."""
    from optuna.distributions import CategoricalDistribution

    return [
        parameter.name
        for parameter in space.parameters.values()
        if not isinstance(parameter.distribution, CategoricalDistribution)
    ]


def _open(space: Space) -> list[str]:
    """Return those of the ranges of numbers that have more than one value."""
    return [name for name in numbers(space) if not space.parameters[name].distribution.single()]


def drawn_at_random(space: Space) -> str | None:
    """Return a message about the parameters that are not numbers, drawn at random, or None."""
    left = [name for name in space.parameters if name not in numbers(space)]
    if not left:
        return None
    return f"{', '.join(left)}: choices have no order, so this sampler draws them at random"
