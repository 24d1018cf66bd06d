"""Whether a study's winner is certified, and over which seeds (`search.study.certify`).

The seeds begin FAR beyond the study's own, and so beyond those of `search.confirm`: nothing was
chosen by them. If there is no test split, other validation splits stand in, if they can be drawn.
"""

from __future__ import annotations

from search.certificate.certificate import Rows
from search.config.settings import MAX_SEEDS
from search.plan.follow import SEED, SPLIT, Fresh, split_seed
from search.plan.plan import Plan

NUM_SIDES = 2
"""The winner and what it is compared with."""
FAR = 1000


def refusal(plan: Plan) -> str | None:
    """Return why the winner of a study is not certified when it ends; None if it can be."""
    if plan.composition.follows is not None:
        return "it follows another study"
    if plan.is_asked:
        return "a loop of yours trains the trials"
    if len(plan.objectives) > 1:
        return "there are several goals, and so no single winner"
    if plan.num_trials < NUM_SIDES:
        return "there is one trial"
    return None


def certifies(plan: Plan) -> bool:
    """Return whether the winner is certified when the study ends."""
    return plan.search.settings.certify and refusal(plan) is None


def rows_of(plan: Plan) -> Rows:
    """Return the rows on which the winner is certified."""
    data = plan.default.data
    if data.has_test:
        return Rows.test
    return Rows.splits if data.draws_validation else Rows.validation


def fresh_of(plan: Plan, num_seeds: int | None = None) -> Fresh:
    """Return the seeds, or the splits, over which configurations are trained.

    Args:
        plan: The study's plan.
        num_seeds: How many; None takes those of the settings.

    """
    path, first = SEED, plan.seed
    if rows_of(plan) is Rows.splits:
        path, first = SPLIT, split_seed(plan)
    elif SEED in plan.space.paths:
        searched = [
            value
            for parameter in plan.space.parameters.values()
            if parameter.path == SEED
            for value in parameter.values or ()
        ]
        first = max(map(int, searched), default=first)
    num = plan.search.settings.certify_seeds if num_seeds is None else num_seeds
    return Fresh(path, range(first + FAR, first + FAR + num), MAX_SEEDS)


def max_runs(plan: Plan) -> int:
    """Return the most runs that the certificate takes."""
    return NUM_SIDES * plan.search.settings.certify_seeds
