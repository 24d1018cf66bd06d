"""Check the search against the space and the task: enqueued values, sampler, pruner and rule."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from lightning_modules.task.base import Task
from search.config import CONF_DIR, Arm, Tree, build_run
from search.pruner.base import AUTO, ComparingPruner, Pruner
from search.pruner.progress import LOSS, METRIC
from search.sampler.base import Sampler
from search.space.space import Space

SELECT = "trainer.select"


def enqueue_problems(
    arms: Sequence[Arm],
    space: Space,
    number: int,
    values: Mapping[str, Any],
    *,
    is_kept: bool = False,
) -> Iterator[Problem]:
    """Yield a problem for each value of an entry of `search.enqueue` that no trial can have.

    Args:
        arms: The arms of the study; none if it is free.
        space: What varies.
        number: The entry's number, from 0.
        values: The entry, by config path.
        is_kept: Whether an earlier command named it, so that it has its trial.

    """
    where = f"search.enqueue.{number}"
    problems: list[Problem] = []
    try:
        space.by_name(values)
    except SpaceError as error:
        problems += error.problems
        fix = "An earlier command enqueued it, and it has its trial: add search.enqueue=[]."
        for each in error.problems:
            problem = each.under(where)
            yield replace(problem, fix=fix) if is_kept and not problem.fix else problem
    reported = {problem.where for problem in problems}
    for arm in arms:
        if all(values.get(group, option) == option for group, option in arm.choice.items()):
            for path in values.keys() & arm.space.keys() - reported:
                refused = list(_refused(arm.tree, where, path, values[path]))
                reported |= {path} if refused else set()
                yield from refused


def _refused(tree: Tree, where: str, path: str, value: Any) -> Iterator[Problem]:
    try:
        build_run(tree, {path: value})
    except ConfigError as error:
        for problem in error.problems:
            if problem.where == path:
                yield Problem(f"{where}.{path}", problem.rule, problem.got, problem.fix)


def select_problems(space: Space) -> Iterator[Problem]:
    """Yield a problem if the rule that chooses the best trial is searched."""
    if SELECT in space.paths:
        rule, fix = "must be the same in all trials", "Set search.select to one rule."
        yield Problem(SELECT, rule, Verbatim("a range"), fix)


def sampler_problems(sampler: Sampler, space: Space, num_objectives: int) -> Iterator[Problem]:
    """Yield a problem if the sampler cannot search the space."""
    rule = sampler.refusal(space, num_objectives)
    if rule is None:
        return
    able = [
        name for name, kind in _samplers().items() if kind.refusal(space, num_objectives) is None
    ]
    yield Problem("search/sampler", rule, sampler.name, f"Samplers that can: {', '.join(able)}.")


def _samplers() -> dict[str, type[Sampler]]:
    """Return the samplers of `conf/` by name."""
    samplers: dict[str, type[Sampler]] = {}
    for path in sorted((CONF_DIR / "search" / "sampler").glob("*.yaml")):
        target = yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"]
        module, _, name = target.rpartition(".")
        samplers[path.stem] = getattr(importlib.import_module(module), name)
    return samplers


def pruner_problems(pruner: Pruner, task: Task) -> Iterator[Problem]:
    """Yield a problem if no trial measures what the pruner compares."""
    known = [AUTO, LOSS, METRIC, *task.goals]
    for name in pruner.compare if isinstance(pruner, ComparingPruner) else ():
        if name not in known:
            fix = did_you_mean(name, known)
            yield Problem("search.pruner.compare", f"must be among {', '.join(known)}", name, fix)
