"""What people read about guards before a study starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.plan.plan import Plan


def plan_lines(plan: Plan, labels: Sequence[str], num_validation: int) -> Iterator[str]:
    """Yield each guard of a study with its cost.

    Args:
        plan: The plan.
        labels: The labels of its rows in the order of their class numbers.
        num_validation: Number of its validation rows, for comparison.

    """
    for guard in plan.guards:
        size = guard.load(plan.default, labels).size
        yield (
            f"{guard.name}: {guard.metric} {guard.bound}; {size} (validation: {num_validation:,}) "
            "scored once per finished trial, and once per worker on the untouched model"
        )
    if plan.guards:
        yield "a row of theirs is estimated to take as long as one of a validation"
