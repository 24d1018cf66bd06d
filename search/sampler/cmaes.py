"""CMA-ES: move and stretch a normal distribution towards the good trials, generation by generation.

For hundreds of trials over two or more numbers. Categories have no order, so they are drawn at
random.

Paper: Hansen and Ostermeier 2001, Completely derandomized self-adaptation in evolution strategies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.error import Problem
from lightning_modules.schema import positive
from search.sampler.base import Sampler, condition, several, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from search.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Cmaes(Sampler):
    """CMA-ES.

    Attributes:
        num_startup_trials: Finished random trials before the first generation, > 0.

    """

    num_startup_trials: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "num_startup_trials")

    @classmethod
    def refusal(cls, space: Space, num_objectives: int) -> str | None:
        too_few = None
        if len(numbers(space)) < 2:
            too_few = f"must support the {len(numbers(space))} numeric ranges of this space"
        return condition(space) or several(num_objectives) or too_few

    def note(self, space: Space) -> str | None:
        return drawn_at_random(space)

    def build(self, space: Space, seed: int, number: int) -> BaseSampler:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(
            seed=trial_seed(seed, number),
            n_startup_trials=self.num_startup_trials,
            warn_independent_sampling=False,  # `note` already says it
        )


def numbers(space: Space) -> list[str]:
    """Return the names of the parameters that are ranges of numbers."""
    from optuna.distributions import CategoricalDistribution

    return [
        parameter.name
        for parameter in space.parameters.values()
        if not isinstance(parameter.distribution, CategoricalDistribution)
    ]


def drawn_at_random(space: Space) -> str | None:
    """Return a message about the parameters that are not numbers, drawn at random, or None."""
    left = [name for name in space.parameters if name not in numbers(space)]
    if not left:
        return None
    return f"{', '.join(left)}: choices have no order, so this sampler draws them at random"
