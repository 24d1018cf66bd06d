"""The search space: which config paths and groups vary, their ranges, and in which arms.

If no group varies, a study has one arm, and its parameters in Optuna's tables are config paths.
Otherwise, e.g. with `strategy=choice(lora,full)`, it has one arm per option. A path whose range
differs between arms has one parameter per arm, `optimizer.lr[lora]`; a path of some arms only is a
parameter there only. Users always see `optimizer.lr`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem, SpaceError, Verbatim, did_you_mean
from search.space.name import untagged

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Values = Mapping[str, Any]
Options = tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """A config path that varies in an arm.

    Attributes:
        name: Its name in Optuna: the path, with the arm's options if other arms differ.
        path: The config path.
        text: The range as the user wrote it.
        distribution: The range in Optuna.

    """

    name: str
    path: str
    text: str
    distribution: BaseDistribution

    @cached_property
    def values(self) -> Sequence[Any] | None:
        """All values of a choice or a stepped range; None for an interval."""
        return _values(self.distribution)

    @property
    def corners(self) -> tuple[Any, ...]:
        """Both ends of an interval, or every choice."""
        return _corners(self.distribution)

    def allows(self, value: Any) -> bool:
        """Return whether the value lies in the range."""
        return contains(self.distribution, value)

    def includes(self, other: Parameter) -> bool:
        """Return whether the range has every value of another; False if that has infinitely many.

        With the same range it is True in any case.
        """
        if self.distribution == other.distribution:
            return True
        return other.values is not None and all(map(self.allows, other.values))


@dataclass(frozen=True)
class Space:
    """The groups and paths that vary.

    Attributes:
        groups: Groups that vary, with their options.
        arms: Parameters by path for every combination of options, the default one first.

    """

    groups: Mapping[str, Options]
    arms: Mapping[Options, Mapping[str, Parameter]]

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """All groups and paths that vary in some arm, in display order."""
        paths = (path for parameters in self.arms.values() for path in parameters)
        return tuple(dict.fromkeys((*self.groups, *paths)))

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """All parameters of all arms by name, the choices of groups first."""
        from optuna.distributions import CategoricalDistribution

        groups = {
            group: Parameter(group, group, f"choice({', '.join(options)})", distribution)
            for group, options in self.groups.items()
            for distribution in (CategoricalDistribution(options),)
        }
        in_arms = (arm[path] for path in self.paths for arm in self.arms.values() if path in arm)
        return groups | {parameter.name: parameter for parameter in in_arms}

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter does not exist in every arm."""
        return len({frozenset(p.name for p in arm.values()) for arm in self.arms.values()}) > 1

    @cached_property
    def num_combinations(self) -> int | None:
        """The number of distinct trials; None if infinite."""
        arms = [[parameter.values for parameter in arm.values()] for arm in self.arms.values()]
        if any(values is None for arm in arms for values in arm):
            return None
        return sum(math.prod(len(values or ()) for values in arm) for arm in arms)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield every trial of a finite space, by config path."""
        for options, arm in self.arms.items():
            choice = dict(zip(self.groups, options, strict=True))
            axes = [parameter.values or () for parameter in arm.values()]
            for values in product(*axes):
                yield {**choice, **dict(zip(arm, values, strict=True))}

    def options_of(self, values: Values) -> Options:
        """Return the options of the arm that a trial's values choose."""
        return tuple(values[group] for group in self.groups)

    def arm_of(self, values: Values) -> Mapping[str, Parameter]:
        """Return the parameters of the arm that a trial's values choose."""
        return self.arms[self.options_of(values)]

    def is_complete(self, params: Mapping[str, Any]) -> bool:
        """Return whether Optuna's parameters by name leave nothing to choose."""
        values = self.by_path(params)
        if not self.groups.keys() <= values.keys():
            return False
        return self.arm_of(values).keys() <= values.keys()

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Return the trial's values by config path; Optuna suggests those that are not fixed."""
        values = {
            group: trial.suggest_categorical(group, options)
            for group, options in self.groups.items()
        }
        for path, parameter in self.arm_of(values).items():
            values[path] = _suggest(trial, parameter)
        return values

    def by_path(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Convert Optuna's parameters by name into values by config path."""
        values = {untagged(name)[0]: value for name, value in params.items()}
        return {path: values[path] for path in self.paths if path in values}

    def by_name(self, values: Values) -> dict[str, Any]:
        """Convert values by config path, possibly incomplete, into Optuna's parameters by name.

        Raises:
            SpaceError: Lists every path that does not vary, value outside its range, and path that
                is ambiguous because no arm is chosen.

        """
        params: dict[str, Any] = {}
        problems: list[Problem] = []
        for path, value in values.items():
            parameter = self._parameter(path, values)
            if isinstance(parameter, Problem):
                problems.append(parameter)
            elif not parameter.allows(value):
                problems.append(Problem(path, f"must be in {parameter.text}", value))
            else:
                params[parameter.name] = value
        if problems:
            raise SpaceError(problems)
        return params

    def holds(self, values: Values) -> bool:
        """Return whether the values, possibly incomplete, all lie in their ranges."""
        try:
            self.by_name(values)
        except SpaceError:
            return False
        return True

    def _parameter(self, path: str, values: Values) -> Parameter | Problem:
        """Return the parameter of `path` if it is the same in all arms that match `values`."""
        if path not in self.paths:
            fix = did_you_mean(str(path), self.paths)
            return Problem(str(path), "must be a searched path", values[path], fix)
        if path in self.groups:
            return self.parameters[path]
        open_arms = [
            arm
            for options, arm in self.arms.items()
            if all(
                values.get(group, option) == option
                for group, option in zip(self.groups, options, strict=True)
            )
        ]
        matches = {arm[path].name: arm[path] for arm in open_arms if path in arm}
        if len(matches) == 1:
            return next(iter(matches.values()))
        groups = ", ".join(f"{group}: {options[0]}" for group, options in self.groups.items())
        if matches:
            fix = f"Name the arm too: {{{groups}, {path}: ...}}."
            return Problem(path, "must belong to one arm", Verbatim(", ".join(matches)), fix)
        arm = ", ".join(str(values[group]) for group in self.groups if group in values)
        return Problem(path, f"{arm} must search it", values[path])


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


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether the value lies in a range of Optuna."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):
        return False  # not one of the choices, not a number, or none of a log scale


def _corners(distribution: BaseDistribution) -> tuple[Any, ...]:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return tuple(choices)
    return getattr(distribution, "low"), getattr(distribution, "high")  # noqa: B009


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return None
    num_steps = round((distribution.high - distribution.low) / distribution.step)
    return tuple(
        round(distribution.low + at * distribution.step, 12) for at in range(num_steps + 1)
    )
