"""Check a study's guards against its runs, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lightning_modules.error import Problem, UserError
from search.config.guard import KEY
from search.plan.plan import Plan


def num_guard_rows(plan: Plan, labels: Sequence[str]) -> int:
    """Return how many rows the guards score together, once per trial."""
    return sum(guard.load(plan.default, labels).num_scored for guard in plan.guards)


def guard_fingerprints(plan: Plan, labels: Sequence[str]) -> dict[str, str]:
    """Return the fingerprint of each guard's data, by the guard's name."""
    return {guard.name: guard.load(plan.default, labels).fingerprint for guard in plan.guards}


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
