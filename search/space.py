"""The search space: which config paths vary, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config import Tree, build_run, parse_range, resolved

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """Config path to distribution, in the order they are shown.

    Attributes:
        distributions: Optuna's, by path.
        texts: The same as the user wrote them.

    """

    distributions: Mapping[str, BaseDistribution]
    texts: Mapping[str, str]

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Return the trial's values, asked from Optuna where they are not yet settled."""
        return {
            path: _suggest(trial, path, distribution)
            for path, distribution in self.distributions.items()
        }

    def allows(self, path: str, value: Any) -> bool:
        """Say whether the value lies in the path's range."""
        return _contains(self.distributions[path], value)

    def contains(self, values: Values) -> bool:
        """Say whether every path's value lies in its range."""
        return all(self.allows(path, values[path]) for path in self.distributions)


def build_space(tree: Tree) -> Space:
    """Return the space of a sweep's tree, after trying its corners on the configuration.

    Raises:
        SpaceError: A path that is not there, an impossible range, or a value in a range that
            the configuration refuses; all at once.

    """
    texts: Mapping[str, str] = tree["search"]["space"]
    current = leaves(resolved({k: v for k, v in tree.items() if k != "search"}))
    current |= _typed_values(tree)
    distributions: dict[str, BaseDistribution] = {}
    problems: list[Problem] = []
    for path, text in texts.items():
        if path not in current:
            fix = did_you_mean(path, current)
            rule = "a searched path must be in the configuration"
            problems.append(Problem(path, rule, Verbatim(text), fix))
            continue
        try:
            distribution = parse_range(path, text, current[path])
            problems.extend(_refused_values(tree, path, text, distribution))
            distributions[path] = distribution
        except SpaceError as error:
            problems.extend(error.problems)
    if not texts:
        fix = "Mark one, as 'optimizer.lr=tag(log,interval(1e-5,1e-2))', or use finesweep train."
        rule = "must vary at least one setting"
        problems.append(Problem("search.space", rule, Verbatim("nothing"), fix))
    if problems:
        raise SpaceError(problems)
    return Space(distributions, texts)


def default_values(tree: Tree, space: Space) -> dict[str, Any]:
    """Return what the unmodified configuration has at the searched paths."""
    values = leaves(resolved({k: v for k, v in tree.items() if k != "search"}))
    return {path: values[path] for path in space.distributions}


def _typed_values(tree: Tree) -> dict[str, Any]:
    # A YAML's 16 may be a float's value, and then 16.5 is one too.
    try:
        return build_run(tree).flat()
    except ConfigError:
        return {}  # reported where the run is built


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


def _suggest(trial: BaseTrial, path: str, distribution: BaseDistribution) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(distribution, FloatDistribution):
        d = distribution
        return trial.suggest_float(path, d.low, d.high, step=d.step, log=d.log)
    if isinstance(distribution, IntDistribution):
        i = distribution
        return trial.suggest_int(path, i.low, i.high, step=i.step, log=i.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(path, distribution.choices)


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
