"""What a study will try first, asked of the sampler without a study."""

from __future__ import annotations

from typing import Any

from search.plan import Plan
from search.sampler.base import seeded_sampler

NUM_STARTUP = 10


def first_suggestions(plan: Plan) -> list[dict[str, Any]]:
    """Return the values of the trials that depend on no result, as the study will make them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = seeded_sampler(plan.search.sampler, plan.default.seed)
    study = optuna.create_study(sampler=sampler)  # in memory
    startup = getattr(plan.search.sampler, "num_startup_trials", NUM_STARTUP)
    suggestions: list[dict[str, Any]] = []
    first = plan.first
    for number in range(min(plan.search.settings.num_trials, startup)):
        if number == 0:
            suggestions.append(dict(plan.default_values))
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
            continue
        if number < len(first):
            study.enqueue_trial(dict(first[number]))
        suggestions.append(plan.space.suggest(study.ask()))
    return suggestions
