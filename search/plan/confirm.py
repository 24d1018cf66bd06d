"""Whether the first few trials of a study are trained again, and on what (`search.study.confirm`).

They are trained on other validation splits if the validation rows are drawn from the training rows,
otherwise with other seeds.
"""

from __future__ import annotations

from search.plan.follow import SEED, SPLIT, Fresh, split_seed
from search.plan.plan import Plan

MAX_CANDIDATES = 3
"""Most trials that are trained again beside the default."""


def refusal(plan: Plan) -> str | None:
    """Return why the first few of a study cannot be confirmed; None if they can."""
    if plan.is_asked:
        return "a loop of yours trains the trials"
    if len(plan.objectives) > 1:
        return "there are several goals, and so no single best trial"
    if SEED in plan.space.paths:
        return "the seed is searched, so configurations count by their mean over seeds already"
    return None


def confirms(plan: Plan) -> bool:
    """Return whether the first few trials of the study are trained again."""
    return plan.search.settings.confirm > 0 and refusal(plan) is None


def fresh_of(plan: Plan) -> Fresh:
    """Return the splits, or the seeds, on which the first few of a study are trained again."""
    draws = plan.default.data.draws_validation
    path, first = (SPLIT, split_seed(plan)) if draws else (SEED, plan.seed)
    return Fresh(path, range(first + 1, first + 1 + plan.search.settings.confirm))


def max_runs(plan: Plan) -> int:
    """Return the most runs that confirming takes."""
    num_trials = min(MAX_CANDIDATES + 1, plan.num_trials)
    return plan.search.settings.confirm * num_trials if num_trials > 1 else 0
