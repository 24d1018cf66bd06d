"""Build the plan of a study from its composition; report every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lightning_modules.error import ConfigError, Problem, UserError
from lightning_modules.model.base import Model
from lightning_modules.run import Run
from search.config import Composition, build_guards, build_run, build_search, is_free
from search.config.settings import Search, SearchSettings
from search.plan.check import enqueue_problems, pruner_problems, sampler_problems, select_problems
from search.plan.free import direction_problems, free_objective, free_seed, free_space
from search.plan.name import plain_name
from search.plan.objective import METRIC_PREFIX, Objective, build_objectives, objective_problems
from search.plan.plan import Plan
from search.plan.portfolio import portfolio
from search.plan.ranges import build_space, default_values
from search.plan.settle import settled_pruner, with_metric, with_select
from search.space.key import canonical_key
from search.space.space import Options, Space

T = TypeVar("T")


def build_plan(composition: Composition) -> Plan:
    """Return the plan of a sweep's composition.

    Raises:
        UserError: Lists every problem of the configuration, search settings and space.

    """
    problems: list[Problem] = []
    free = is_free(composition.tree)
    name = _collect(problems, lambda: plain_name("study", composition.tree["study"]))
    search = _collect(problems, lambda: build_search(composition.tree))
    if search is not None:
        problems.extend(direction_problems(search.settings, free=free))
        composition = composition if free else with_metric(composition, search.settings)
    defaults = _collect(problems, lambda: {} if free else _defaults(composition))
    space = _collect(problems, lambda: _space(composition))
    arms = () if free or space is None else composition.arms
    first: list[Mapping[str, Any]] = [default_values(arm) for arm in arms]
    if search is not None and space is not None:
        is_kept = any(word.startswith("search.enqueue=") for word in composition.earlier)
        for number, values in enumerate(search.settings.enqueue):
            found = enqueue_problems(arms, space, number, values, is_kept=is_kept)
            problems.extend(found)
            first.append(values)
    if space is not None:
        problems.extend(select_problems(space))
    guards = _collect(problems, lambda: () if free else build_guards(composition.tree)) or ()
    objectives: tuple[Objective, ...] = ()
    if search is not None and defaults is not None and not problems:
        objectives = _collect(problems, lambda: _objectives(search.settings, defaults)) or ()
    if search is not None and defaults:
        task = next(iter(defaults.values())).task
        problems.extend(pruner_problems(search.pruner, task))
    if not problems and search is not None and space is not None:
        problems.extend(sampler_problems(search.sampler, space, len(objectives)))
    if problems or name is None or search is None or defaults is None or space is None:
        raise ConfigError(_metric_named(_without_repeats(problems), search))
    first += (*portfolio(composition, space, search), *search.sampler.points(space))
    composition, runs = with_select(composition, search.settings, defaults)
    trained_here = None if search.settings.ask_tell else next(iter(runs.values()), None)
    pruner = settled_pruner(search.pruner, trained_here)
    settings = replace(search, pruner=pruner)
    once = tuple(_once(first))
    return Plan(name, composition, space, settings, objectives, runs, once, guards)


def _space(composition: Composition) -> Space:
    if is_free(composition.tree):
        free_seed(composition.tree)
        return free_space(composition.space)
    return build_space(composition)


def _objectives(settings: SearchSettings, defaults: Mapping[Options, Run]) -> tuple[Objective, ...]:
    if not defaults:
        return (free_objective(settings),)
    task = next(iter(defaults.values())).task
    names = settings.objectives or [METRIC_PREFIX + task.metric]
    problems = list(objective_problems(names, task))
    if problems:
        raise ConfigError(problems)
    return build_objectives(names, task)


def _defaults(composition: Composition) -> dict[Options, Run]:
    defaults: dict[Options, Run] = {}
    models: dict[str, Model] = {}  # shared by all arms, so that its weights are checked once
    problems: list[Problem] = []
    for arm in composition.arms:
        options = tuple(arm.choice.values())
        run = _collect(problems, lambda arm=arm: build_run(arm.tree))  # type: ignore[misc]
        if run is not None:
            model = models.setdefault(repr(run.model), run.model)
            defaults[options] = replace(run, model=model)
    if problems:
        raise ConfigError(_without_repeats(problems))
    return defaults


def _once(first: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for values in first:
        key = canonical_key(values)
        if key not in seen:
            yield values
        seen.add(key)


def _collect(problems: list[Problem], make: Callable[[], T]) -> T | None:
    try:
        return make()
    except UserError as error:
        problems.extend(error.problems)
        return None


def _without_repeats(problems: Sequence[Problem]) -> list[Problem]:
    # Arms share most of their configuration, and so most problems.
    return list({str(problem): problem for problem in problems}.values())


def _metric_named(problems: list[Problem], search: Search | None) -> list[Problem]:
    # The user set search.metric or search.objectives, not the task's.
    if search is None or (search.settings.metric is None and not search.settings.objectives):
        return problems
    key = "search.objectives" if search.settings.objectives else "search.metric"
    return [
        Problem(key, problem.rule, problem.got, problem.fix)
        if problem.where == "task.metric"
        else problem
        for problem in problems
    ]
