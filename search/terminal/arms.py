"""Say in a line how the arms of a study share its trials."""

from __future__ import annotations

import math
from collections.abc import Iterator

from search.plan.plan import Plan
from search.study.arm import num_turns
from search.study.turn import NUM_OPENING, NUM_ROUND, num_first


def arms_line(plan: Plan) -> str | None:
    """Return the line, or None if there is one arm or every combination is tried."""
    arms = tuple(plan.space.arms)
    if len(arms) == 1 or plan.search.sampler.is_finite:
        return None
    if not plan.takes_turns:
        return f"{len(arms)} arms, chosen by the sampler"
    turns = num_turns(plan)
    if turns <= len(arms):
        of = "" if turns == len(arms) else f" of the first {turns}"
        return f"{len(arms)} arms: search.num_trials is enough for the defaults{of} only"
    opens = num_first(arms, turns) == NUM_OPENING
    first = f"{len(arms)} arms in turn: default"
    if opens:
        first += f", {_opening(plan)} each"
    later = _later(len(arms), turns) if len(plan.objectives) == 1 else iter(())
    rest = [f"then the best {'one' if number == 1 else number}" for number in later]
    if len(plan.objectives) > 1:
        rest = ["then in turn to the end, because there are several goals"]
    elif not opens:
        first += " of each"
        rest[0] += f": {_opening(plan)}"
    return "; ".join([first, *rest])


def _opening(plan: Plan) -> str:
    without = [" ".join(options) for options, values in plan.openings.items() if not values]
    if len(without) == len(plan.openings):
        return "two sampled points"
    sampled = f" ({', '.join(without)}: two sampled points)" if without else ""
    return f"learning rate x3 and /3{sampled}"


def _later(num_arms: int, turns: int) -> Iterator[int]:
    """Yield how many arms continue in each later round that the budget reaches."""
    quota = num_first(range(num_arms), turns)
    used = num_arms * quota
    while used < turns and num_arms > 1:
        num_arms = math.ceil(num_arms / 2)
        yield num_arms
        more = NUM_OPENING - quota if quota < NUM_OPENING else NUM_ROUND
        used, quota = used + num_arms * more, quota + more
