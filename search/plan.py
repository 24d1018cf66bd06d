"""What a study is asked to do: typed and checked, before any storage is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_modules.error import ConfigError, Problem, UserError, did_you_mean
from lightning_modules.run import Run
from search.config import Tree, build_run, build_search
from search.settings import Search
from search.space import Space, build_space, default_values

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Plan:
    """A study's task.

    Attributes:
        name: The study's name.
        tree: The configuration, interpolations unresolved.
        space: What varies.
        search: Sampler, pruner, budget.
        default: The unmodified configuration as a run.
        default_values: What that has at the searched paths.
        enqueued: Values to try after the default; paths left out are sampled.

    """

    name: str
    tree: Tree
    space: Space
    search: Search
    default: Run
    default_values: Mapping[str, Any]
    enqueued: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> list[Mapping[str, Any]]:
        """What is tried first, each once: the default, then `enqueued`."""
        first: list[Mapping[str, Any]] = []
        for values in (self.default_values, *self.enqueued):
            if values not in first:
                first.append(values)
        return first

    def run(self, values: Mapping[str, Any]) -> Run:
        """Return the typed run of one trial."""
        return build_run(self.tree, values)


def build_plan(tree: Tree) -> Plan:
    """Return the plan of a sweep's tree.

    Raises:
        UserError: With every problem of configuration, search settings and space.

    """
    problems: list[Problem] = []
    _collect(problems, lambda: check_name("study", tree["study"]))
    search = _collect(problems, lambda: build_search(tree))
    if search is not None and search.settings.metric is not None:
        metric = search.settings.metric.removeprefix("validation/")
        tree = {**tree, "task": {**tree["task"], "metric": metric}}
    default = _collect(problems, lambda: build_run(tree))
    space = _collect(problems, lambda: build_space(tree))
    if search is not None and space is not None:
        problems.extend(_enqueue_problems(tree, space, tuple(search.settings.enqueue)))
    if problems or search is None or default is None or space is None:
        raise ConfigError(_metric_named(problems, search))
    values = default_values(tree, space)
    enqueued = tuple(search.settings.enqueue)
    return Plan(tree["study"], tree, space, search, default, values, enqueued)


def check_name(key: str, name: object) -> None:
    """Refuse a study's or run's name that is no plain folder name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        rule = "must be letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
        raise ConfigError(Problem(key, rule, name, f"Set {key}=NAME."))


def _collect(problems: list[Problem], make: Any) -> Any:
    try:
        return make()
    except UserError as error:
        problems.extend(error.problems)
        return None


def _metric_named(problems: list[Problem], search: Search | None) -> list[Problem]:
    # The user set search.metric, not the task's.
    if search is None or search.settings.metric is None:
        return problems
    return [
        Problem("search.metric", problem.rule, problem.got, problem.fix)
        if problem.where == "task.metric"
        else problem
        for problem in problems
    ]


def _enqueue_problems(
    tree: Tree, space: Space, enqueued: tuple[Mapping[str, Any], ...]
) -> Iterator[Problem]:
    for number, values in enumerate(enqueued):
        for path, value in values.items():
            where = f"search.enqueue.{number}.{path}"
            if path not in space.distributions:
                fix = did_you_mean(str(path), space.distributions)
                yield Problem(where, "must be a searched path", value, fix)
            elif not space.allows(path, value):
                yield Problem(where, f"must lie in {space.texts[path]}", value)
            else:
                yield from _refused(tree, where, path, value)


def _refused(tree: Tree, where: str, path: str, value: Any) -> Iterator[Problem]:
    try:
        build_run(tree, {path: value})
    except ConfigError as error:
        for problem in error.problems:
            if problem.where == path:
                yield Problem(where, problem.rule, problem.got, problem.fix)
