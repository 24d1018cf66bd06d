"""The search space: which config paths and groups vary, how, and under which choices.

A study that varies no group has one arm, and its parameters in Optuna's tables are config paths.
One that does, as `strategy=choice(lora,full)`, has an arm a member. Where a path's range differs
between arms it is a parameter an arm, `optimizer.lr[lora]`; where only some arms have the path,
the parameter exists in those alone. People see `optimizer.lr` in any case.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config import (
    Arm,
    Composition,
    Tree,
    build_run,
    parse_range,
    resolved,
    strategy_class,
    tagged,
    untagged,
)
from search.storage.attribute import VALUES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial, FrozenTrial

Values = Mapping[str, Any]
Members = tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """A config path that varies in an arm.

    Attributes:
        name: Optuna's name of it: the path, with the arm's members where it is theirs alone.
        path: The config path.
        text: The range as the user wrote it.
        distribution: The range as Optuna's.

    """

    name: str
    path: str
    text: str
    distribution: BaseDistribution

    @cached_property
    def values(self) -> tuple[Any, ...] | None:
        """Every value of a choice or a range with steps; None for an interval."""
        return _values(self.distribution)

    def allows(self, value: Any) -> bool:
        """Say whether the value lies in the range."""
        return _contains(self.distribution, value)


@dataclass(frozen=True)
class Space:
    """What varies.

    Attributes:
        groups: Groups that vary, with their members.
        arms: The parameters by path, of every combination of members, the default one first.

    """

    groups: Mapping[str, Members]
    arms: Mapping[Members, Mapping[str, Parameter]]

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every group and path that varies in some arm, in the order they are shown."""
        paths = (path for parameters in self.arms.values() for path in parameters)
        return tuple(dict.fromkeys((*self.groups, *paths)))

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every parameter of some arm by its name, the choices of groups first."""
        from optuna.distributions import CategoricalDistribution

        groups = {
            group: Parameter(group, group, f"choice({', '.join(members)})", distribution)
            for group, members in self.groups.items()
            for distribution in (CategoricalDistribution(members),)
        }
        found = (arm[path] for path in self.paths for arm in self.arms.values() if path in arm)
        return groups | {parameter.name: parameter for parameter in found}

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter exists in some arms alone."""
        return len({frozenset(p.name for p in arm.values()) for arm in self.arms.values()}) > 1

    @cached_property
    def num_combinations(self) -> int | None:
        """How many different trials there can be; None for no end of them."""
        arms = [[parameter.values for parameter in arm.values()] for arm in self.arms.values()]
        if any(values is None for arm in arms for values in arm):
            return None
        return sum(math.prod(len(values or ()) for values in arm) for arm in arms)

    def members_of(self, values: Values) -> Members:
        """Return the arm of a trial's values."""
        return tuple(values[group] for group in self.groups)

    def arm_of(self, values: Values) -> Mapping[str, Parameter]:
        """Return the parameters of the arm of a trial's values."""
        return self.arms[self.members_of(values)]

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Return the trial's values, asked from Optuna where they are not yet settled."""
        values = {
            group: trial.suggest_categorical(group, members)
            for group, members in self.groups.items()
        }
        for path, parameter in self.arm_of(values).items():
            values[path] = _suggest(trial, parameter)
        return values

    def values_of(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return Optuna's parameters by config path."""
        found = {untagged(name)[0]: value for name, value in params.items()}
        return {path: found[path] for path in self.paths if path in found}

    def params_of(self, values: Values) -> dict[str, Any]:
        """Return values by config path, perhaps not all, as Optuna's parameters.

        Raises:
            SpaceError: A path that varies nowhere, a value outside its range, or one that
                stands for several parameters as long as no arm is chosen; all at once.

        """
        params: dict[str, Any] = {}
        problems: list[Problem] = []
        for path, value in values.items():
            found = self._parameter(path, values)
            if isinstance(found, Problem):
                problems.append(found)
            elif not found.allows(value):
                problems.append(Problem(path, f"must lie in {found.text}", value))
            else:
                params[found.name] = value
        if problems:
            raise SpaceError(problems)
        return params

    def contains(self, values: Values) -> bool:
        """Say whether every value lies in its range."""
        return all(
            parameter.allows(values[path]) for path, parameter in self.arm_of(values).items()
        )

    def _parameter(self, path: str, values: Values) -> Parameter | Problem:
        """Return the one parameter that `path` is in the arms that `values` leave open."""
        if path not in self.paths:
            fix = did_you_mean(str(path), self.paths)
            return Problem(str(path), "must be a searched path", values[path], fix)
        if path in self.groups:
            return self.parameters[path]
        open_arms = [
            arm
            for members, arm in self.arms.items()
            if all(
                values.get(group, member) == member
                for group, member in zip(self.groups, members, strict=True)
            )
        ]
        found = {arm[path].name: arm[path] for arm in open_arms if path in arm}
        if len(found) == 1:
            return next(iter(found.values()))
        groups = ", ".join(f"{group}: {members[0]}" for group, members in self.groups.items())
        if found:
            fix = f"Name the arm too, as {{{groups}, {path}: ...}}."
            return Problem(path, "must be of one arm", Verbatim(", ".join(found)), fix)
        arm = ", ".join(str(values[group]) for group in self.groups if group in values)
        return Problem(path, f"{arm} must search it", values[path])


def build_space(composition: Composition) -> Space:
    """Return the space of a sweep's composition, after trying its corners on the configuration.

    Raises:
        SpaceError: A path that is not there, an impossible range, or a value in a range that
            the configuration refuses; all at once.

    """
    problems: dict[str, Problem] = {}
    ranges: dict[Members, dict[str, tuple[str, BaseDistribution]]] = {}
    for arm in composition.arms:
        found = ranges[tuple(arm.choice.values())] = {}
        for path, range_or_problem in _ranges(arm):
            if isinstance(range_or_problem, Problem):
                problems.setdefault(str(range_or_problem), range_or_problem)
            else:
                found[path] = range_or_problem
    if not any(arm.space for arm in composition.arms) and not composition.groups:
        example = "optimizer.lr=tag(log,interval(1e-5,1e-2))"
        if not strategy_class(composition.tree).has_use_for("optimizer.lr"):
            example = "strategy.num_shots=choice(0,4,16)"
        fix = f"Mark one, as '{example}', or use finesweep train."
        rule = "must vary at least one setting"
        problems["nothing"] = Problem("search.space", rule, Verbatim("nothing"), fix)
    if problems:
        raise SpaceError(problems.values())
    paths = dict.fromkeys(path for found in ranges.values() for path in found)
    names = {path: _names(path, ranges) for path in paths}
    arms = {
        members: {
            path: Parameter(names[path][members], path, text, distribution)
            for path, (text, distribution) in found.items()
        }
        for members, found in ranges.items()
    }
    return Space(composition.groups, arms)


def corners(parameter: Parameter) -> tuple[Any, ...]:
    """Return both ends of an interval, or every choice."""
    return _corners(parameter.distribution)


def default_values(arm: Arm) -> dict[str, Any]:
    """Return what the arm's unmodified configuration has at the searched paths."""
    values = leaves(resolved({k: v for k, v in arm.tree.items() if k != "search"}))
    return {**arm.choice, **{path: values[path] for path in arm.space}}


def waiting_trial(space: Space, values: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial for the queue with these values, the rest to be sampled."""
    from optuna.trial import TrialState, create_trial

    try:
        fixed = space.params_of(values)
    except SpaceError:
        # Optuna refuses parameters outside their range, as a default may be.
        return create_trial(state=TrialState.WAITING, user_attrs={VALUES: dict(values)})
    attributes = {"fixed_params": fixed} if fixed else {}
    return create_trial(state=TrialState.WAITING, system_attrs=attributes)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the tree's values by their config path.

    >>> leaves({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _ranges(arm: Arm) -> Iterator[tuple[str, tuple[str, BaseDistribution] | Problem]]:
    current = leaves(resolved({k: v for k, v in arm.tree.items() if k != "search"}))
    current |= _typed_values(arm.tree)
    for path, text in arm.space.items():
        if path not in current:
            fix = did_you_mean(path, current)
            rule = "a searched path must be in the configuration"
            yield path, Problem(path, rule, Verbatim(text), fix)
            continue
        try:
            distribution = parse_range(path, text, current[path])
        except SpaceError as error:
            yield from ((path, problem) for problem in error.problems)
        else:
            for problem in _refused_values(arm.tree, path, text, distribution):
                yield path, problem
            yield path, (text, distribution)


def _names(
    path: str, ranges: Mapping[Members, Mapping[str, tuple[str, BaseDistribution]]]
) -> dict[Members, str]:
    """Return the path's parameter name in each arm, with as few members as tell ranges apart."""
    mine = {members: found[path][1] for members, found in ranges.items() if path in found}
    width = len(next(iter(mine)))
    for size in range(width + 1):
        for places in combinations(range(width), size):
            by_places: dict[Members, set[str]] = {}
            for members, distribution in mine.items():
                by_places.setdefault(_at(members, places), set()).add(repr(distribution))
            if all(len(different) == 1 for different in by_places.values()):
                return {members: tagged(path, _at(members, places)) for members in mine}
    raise AssertionError("an arm has one range a path")


def _at(members: Members, places: Sequence[int]) -> Members:
    return tuple(members[place] for place in places)


def _typed_values(tree: Tree) -> dict[str, Any]:
    # A YAML's 16 may be a float's value, and then 16.5 is one too.
    try:
        return build_run(tree).flat()
    except ConfigError:
        return {}  # reported where the run is built


def _suggest(trial: BaseTrial, parameter: Parameter) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, FloatDistribution):
        d = distribution
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(distribution, IntDistribution):
        i = distribution
        return trial.suggest_int(name, i.low, i.high, step=i.step, log=i.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False  # a choice that is not there, or no number


def _refused_values(
    tree: Tree, path: str, text: str, distribution: BaseDistribution
) -> Iterator[Problem]:
    for value in _corners(distribution):
        try:
            build_run(tree, {path: value})
        except ConfigError as error:
            for problem in error.problems:
                # What is wrong whatever the value is reported without the space.
                if problem.where == path:
                    yield Problem(path, problem.rule, Verbatim(f"{value!r} in {text}"), problem.fix)


def _corners(distribution: BaseDistribution) -> tuple[Any, ...]:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return tuple(choices)
    return getattr(distribution, "low"), getattr(distribution, "high")  # noqa: B009


def _values(distribution: BaseDistribution) -> tuple[Any, ...] | None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return tuple(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return None
    num_steps = round((distribution.high - distribution.low) / distribution.step)
    return tuple(
        round(distribution.low + at * distribution.step, 12) for at in range(num_steps + 1)
    )
