"""Check a study's guards against its runs, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lightning_modules.error import Problem, UserError
from search.config.guard import KEY
from search.plan.plan import Plan


def guard_problems(plan: Plan, labels: Sequence[str]) -> Iterator[Problem]:
    """Yield why the network of some arm cannot be scored by a guard.

    Args:
        plan: The plan.
        labels: The labels of its rows in the order of their class numbers.

    """
    problems: dict[str, Problem] = {}
    for number, guard in enumerate(plan.guards):
        for run in plan.defaults.values():
            try:
                guard.load(run, labels)
            except UserError as error:
                found = [problem.under(f"{KEY}.{number}") for problem in error.problems]
                problems |= {str(problem): problem for problem in found}
    yield from problems.values()
