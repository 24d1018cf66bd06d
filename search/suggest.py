"""What a study will try first, asked of the sampler without a study."""

from __future__ import annotations

from typing import Any

from search.plan import Plan
from search.sampler.base import seeded_sampler
from search.study import VALUES, waiting_trial

NUM_STARTUP = 10


def first_suggestions(plan: Plan) -> list[dict[str, Any]]:
    """Return the values of the trials that depend on no result, as the study will make them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = seeded_sampler(plan.search.sampler, plan.space, plan.default.seed)
    directions = [objective.direction for objective in plan.objectives]
    study = optuna.create_study(sampler=sampler, directions=directions)  # in memory
    startup = getattr(plan.search.sampler, "num_startup_trials", NUM_STARTUP)
    suggestions: list[dict[str, Any]] = []
    for number in range(min(plan.num_trials, max(startup, len(plan.defaults)))):
        values = plan.first[number] if number < len(plan.first) else {}
        study.add_trial(waiting_trial(plan.space, values))
        trial = study.ask()
        suggestions.append(trial.user_attrs.get(VALUES) or plan.space.suggest(trial))
    return suggestions
