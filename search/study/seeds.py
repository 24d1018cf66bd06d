"""Average over the seed: with `seed=choice(0,1,2)` a configuration is trained once per seed.

Trials that are equal but for the seed are one configuration. What counts is its mean, so a
configuration that had luck with one seed does not win. Without a plan, no two trials of a space
with a real number would ever be equal: so before the sampler suggests the next configuration, the
last one is trained with its other seeds, unless it was pruned, diverged or failed. A mean of fewer
seeds may be luck: it ranks behind those of more, and last if a seed is missing for such a reason.
Of a configuration outside the space, only the seed that it was queued with is trained. A seed whose
trial was dropped is not trained again, as it would end the same; and as its configuration stays
behind the complete ones, its other seeds are not trained either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from search.space.key import canonical_key
from search.space.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SEED = "seed"


def configuration(values: Mapping[str, Any]) -> str:
    """Return the text of a configuration without its seed; equal ones give equal text."""
    return canonical_key({path: value for path, value in values.items() if path != SEED})


def broken_off(trials: Iterable[tuple[FrozenTrial, Mapping[str, Any]]]) -> frozenset[str]:
    """Return the configurations of which a seed has ended without a result.

    Args:
        trials: Trials with their values by config path.

    """
    return frozenset(
        configuration(values)
        for trial, values in trials
        if trial.state.is_finished() and trial.state.name != "COMPLETE"
    )


def seeds_left(
    space: Space,
    trials: Sequence[tuple[FrozenTrial, Mapping[str, Any]]],
    dropped: Set[int] = frozenset(),
) -> Iterator[dict[str, Any]]:
    """Yield configurations that have begun, each with a seed that it has not been given.

    Args:
        space: The study's space, which searches the seed.
        trials: Every trial that has values, with them by config path.
        dropped: The numbers of those that were dropped.

    """
    known: dict[str, dict[str, Any]] = {}
    given: dict[str, set[Any]] = {}
    ended = broken_off(trials)
    ended |= {configuration(values) for trial, values in trials if trial.number in dropped}
    for _, values in trials:
        key = configuration(values)
        known.setdefault(key, dict(values))
        given.setdefault(key, set()).add(values.get(SEED))
    for key, values in known.items():
        seeds = space.arm_of(values)[SEED].values or ()
        for seed in () if key in ended else seeds:
            again = {**values, SEED: seed}
            if seed not in given[key] and space.holds(again):
                yield again


def first_seed(space: Space, values: Mapping[str, Any]) -> Any:
    """Return the seed that a new configuration is trained with first."""
    seeds = space.arm_of(values)[SEED].values
    assert seeds, "a seed is a whole number, so its range has a list of values"
    return seeds[0]


def num_lacking(num_seeds: int, configurations: Mapping[int, str]) -> dict[int, int]:
    """Return how many seeds the configuration of each finished trial lacks, by its number.

    >>> num_lacking(3, {0: "a", 1: "a", 2: "b"})
    {0: 1, 1: 1, 2: 2}
    """
    finished = Counter(configurations.values())
    return {number: num_seeds - finished[key] for number, key in configurations.items()}


def means(
    losses: Mapping[int, Sequence[float]], configurations: Mapping[int, str]
) -> dict[int, list[float]]:
    """Return the mean losses of every trial's configuration, by the trial's number.

    >>> means({0: [1.0], 1: [3.0], 2: [5.0]}, {0: "a", 1: "a", 2: "b"})
    {0: [2.0], 1: [2.0], 2: [5.0]}
    """
    columns: dict[str, list[Sequence[float]]] = {}
    for number, loss in losses.items():
        columns.setdefault(configurations[number], []).append(loss)
    mean = {
        key: [sum(column) / len(column) for column in zip(*group, strict=True)]
        for key, group in columns.items()
    }
    return {number: mean[configurations[number]] for number in losses}
