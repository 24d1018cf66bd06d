"""The space and the objective of a free study, whose names and metric are the caller's own.

No configuration says what a name means, so there are no defaults: the first trials are those of
`search.enqueue`, then the sampler's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim
from lightning_modules.task.base import Direction
from search.config import Tree, parse_range, resolved
from search.config.settings import SearchSettings
from search.plan.objective import Objective
from search.space.space import Parameter, Space

COLUMNS = frozenset(
    (
        *("number", "state", "value", "gain", "gain_low", "gain_high"),
        *("trainable_parameters", "best_epoch"),
        *("seconds", "attempts", "best", "reason", "verdict"),
    )
)
"""The other columns of trials.csv, beside which a searched name is one."""


def free_space(ranges: Mapping[str, str]) -> Space:
    """Return the space of ranges by name; raise SpaceError if a name or a range is impossible."""
    problems: list[Problem] = []
    parameters: dict[str, Parameter] = {}
    if not ranges:
        fix = "Search one, e.g. 'lr=tag(log,interval(1e-5,1e-1))'."
        problems.append(Problem("search.space", "must search a name", Verbatim("nothing"), fix))
    for name, text in ranges.items():
        if name in COLUMNS:
            rule, fix = "must not be the name of a column of trials.csv", "Choose another name."
            problems.append(Problem(name, rule, Verbatim(text), fix))
        try:
            parameters[name] = Parameter(name, name, text, parse_range(name, text, None))
        except SpaceError as error:
            problems += error.problems
    if problems:
        raise SpaceError(problems)
    return Space({}, {(): parameters})


def free_seed(tree: Tree) -> int:
    """Return the seed of a free study; raise ConfigError if it is none."""
    seed: Any = resolved(tree)["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(Problem("seed", "must be a whole number >= 0", seed))
    return seed


def free_objective(settings: SearchSettings) -> Objective:
    """Return the objective that `search.metric` and `search.direction` name."""
    assert settings.metric is not None
    way: Direction = "maximize" if settings.direction == "maximize" else "minimize"
    return Objective(settings.metric, way)


def direction_problems(settings: SearchSettings, *, free: bool) -> Iterator[Problem]:
    """Yield the problems of a study's kind: trained here, asked and told, or free."""
    if free and settings.metric is None:
        fix = "Name what your loop measures: search.metric=accuracy."
        yield Problem("search.metric", "must be set if search.direction is", None, fix)
    if free and not settings.ask_tell:
        rule = "needs search.ask_tell=true: only a loop of yours knows what the names mean"
        yield Problem("search.direction", rule, settings.direction, "Add it, or remove this key.")
    if not free and settings.direction is not None:
        fix = "The task's metrics have their direction."
        yield Problem("search.direction", "must be on the command line", settings.direction, fix)
