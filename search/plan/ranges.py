"""Build the space of a study from the ranges of its configuration.

Both ends of every range are tried in the configuration, so that a range with a refused value is an
error before the study starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config import (
    Arm,
    Composition,
    Tree,
    build_run,
    leaves,
    parse_range,
    resolved,
    strategy_class,
)
from search.space.name import tagged
from search.space.space import Options, Parameter, Space


def build_space(composition: Composition) -> Space:
    """Return the space of a sweep's composition.

    Raises:
        SpaceError: Lists every unknown path, impossible range, and value in a range that the
            configuration refuses.

    """
    problems: dict[str, Problem] = {}
    arms: dict[Options, dict[str, Parameter]] = {}
    for arm in composition.arms:
        by_path = arms[tuple(arm.choice.values())] = {}
        for parameter in _parameters(arm):
            if isinstance(parameter, Problem):
                problems.setdefault(str(parameter), parameter)
            else:
                by_path[parameter.path] = parameter
    if problem := _uneven_seed(arms):
        problems.setdefault("seed", problem)
    if not any(arm.space for arm in composition.arms) and not composition.groups:
        problems["nothing"] = _nothing_varies(composition)
    if problems:
        raise SpaceError(problems.values())
    paths = dict.fromkeys(path for by_path in arms.values() for path in by_path)
    names = {path: _names(path, arms) for path in paths}
    named = {
        options: {
            path: replace(parameter, name=names[path][options])
            for path, parameter in by_path.items()
        }
        for options, by_path in arms.items()
    }
    return Space(composition.groups, named)


def default_values(arm: Arm) -> dict[str, Any]:
    """Return the arm's unmodified values at the searched paths."""
    values = _values(arm)
    return {**arm.choice, **{path: values[path] for path in arm.space}}


def _values(arm: Arm) -> dict[str, Any]:
    return leaves(resolved({k: v for k, v in arm.tree.items() if k != "search"}))


def _nothing_varies(composition: Composition) -> Problem:
    example = "optimizer.lr=tag(log,interval(1e-5,1e-2))"
    if not strategy_class(composition.tree).has_use_for("optimizer.lr"):
        example = "strategy.num_shots=choice(0,4,16)"
    fix = f"Search one, e.g. '{example}', or use finesweep train."
    return Problem("search.space", "must search at least one setting", Verbatim("nothing"), fix)


def _uneven_seed(arms: Mapping[Options, Mapping[str, Parameter]]) -> Problem | None:
    """Return a problem if the seed is searched in some arms only: their means are no rivals."""
    having = [" ".join(options) for options, by_path in arms.items() if "seed" in by_path]
    if len(having) in (0, len(arms)):
        return None
    got = Verbatim(f"a range in {', '.join(having)} only")
    fix = "Give it one range for all arms, e.g. 'seed=choice(0,1,2)', or none."
    return Problem("seed", "must be searched in every arm or in none", got, fix)


def _parameters(arm: Arm) -> Iterator[Parameter | Problem]:
    """Yield a parameter, named by its path, or a problem for each range of the arm."""
    current = _values(arm) | _typed_values(arm.tree)
    for path, text in arm.space.items():
        if path not in current:
            fix = did_you_mean(path, current)
            rule = "a searched path must be in the configuration"
            yield Problem(path, rule, Verbatim(text), fix)
            continue
        try:
            parameter = Parameter(path, path, text, parse_range(path, text, current[path]))
        except SpaceError as error:
            yield from error.problems
        else:
            yield from _refused_values(arm.tree, parameter)
            yield parameter


def _typed_values(tree: Tree) -> dict[str, Any]:
    # 16 in YAML may be the value of a float key, which then also takes 16.5.
    try:
        return build_run(tree).flat()
    except ConfigError:
        return {}  # reported when the run is built


def _refused_values(tree: Tree, parameter: Parameter) -> Iterator[Problem]:
    path = parameter.path
    for value in parameter.corners:
        try:
            build_run(tree, {path: value})
        except ConfigError as error:
            for problem in error.problems:
                # Problems that do not depend on the value are reported elsewhere.
                if problem.where == path:
                    got = Verbatim(f"{value!r} in {parameter.text}")
                    yield Problem(path, problem.rule, got, problem.fix)


def _names(path: str, arms: Mapping[Options, Mapping[str, Parameter]]) -> dict[Options, str]:
    """Return the parameter name of the path in each arm, with as few options as possible."""
    distributions = {
        options: parameters[path].distribution
        for options, parameters in arms.items()
        if path in parameters
    }
    width = len(next(iter(distributions)))
    for size in range(width + 1):
        for places in combinations(range(width), size):
            by_places: dict[Options, set[str]] = {}
            for options, distribution in distributions.items():
                by_places.setdefault(_at(options, places), set()).add(repr(distribution))
            if all(len(different) == 1 for different in by_places.values()):
                return {options: tagged(path, _at(options, places)) for options in distributions}
    raise AssertionError("an arm has one range per path")


def _at(options: Options, places: Sequence[int]) -> Options:
    return tuple(options[place] for place in places)
