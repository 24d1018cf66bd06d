"""What a study prints whose trials a loop of the caller's own trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.plan.plan import Plan
from search.report.text import columns, number
from search.space.space import Space
from search.study.study import Study


def describe_asked(plan: Plan, fixed: Sequence[str] = ()) -> list[str]:
    """Return a study's plan in a few lines: goal, search and space."""
    settings = plan.search.settings
    hours = f", at most {settings.max_hours:g} h" if settings.max_hours else ""
    goal = plan.objectives[0]
    sampler, pruner = (
        type(each).__module__.rsplit(".", 1)[-1]
        for each in (plan.search.sampler, plan.search.pruner)
    )
    lines = [
        ["study", f"{plan.name}: {plan.num_trials} trial{'s' * (plan.num_trials != 1)}{hours}"],
        ["goal", f"{goal.direction} {goal.name}"],
        ["search", f"{sampler}, pruner {pruner}"],
    ]
    for name, parameter in plan.space.parameters.items():
        lines.append(["space", f"{name}  {parameter.text}"])
    lines += [["kept", word] for word in plan.composition.kept]
    lines += [["changed", word] for word in plan.composition.changed]
    lines += [["fixed", f"{word}, removed from the search space"] for word in fixed]
    note = plan.search.sampler.note(plan.space)
    lines += [["note", note]] if note else []
    if plan.limit is not None and plan.limit < settings.num_trials:
        budget = f"fewer than search.num_trials={settings.num_trials}"
        lines.append(["note", f"there are {plan.limit} combinations, {budget}"])
    return columns(lines)


def next_commands(study: Study) -> list[str]:
    """Return how a loop asks for trials, and where they are seen."""
    name = study.plan.name
    left = study.plan.num_trials - study.num_ended
    return [
        f"{left} of {study.plan.num_trials} trials remain. A loop of yours trains them:",
        f"  finesweep ask study={name}",
        f"  finesweep report study={name} trial=N step=S loss=L",
        f"  finesweep tell study={name} trial=N value=V",
        f"  finesweep status study={name}",
    ]


def setting_lines(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Return one line per setting of a trial, aligned."""
    paths = [path for path in space.paths if path in values]
    return columns([[f"  {path}", number(values[path])] for path in paths])
