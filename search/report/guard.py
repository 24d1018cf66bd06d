"""What the trials of a study scored on the data of its guards: as values and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import GuardScore
from search.report.text import score
from search.storage.attribute import GUARDS, broken_guards
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def scores_of(trial: FrozenTrial) -> list[GuardScore]:
    """Return what a finished trial scored on the data of guards."""
    kept = trial.user_attrs.get(GUARDS, {})
    return [GuardScore(**values) for values in kept.values()]


def guard_line(each: GuardScore) -> str:
    """Return a sentence about a score.

    >>> guard_line(GuardScore("forgetting", "loss", 3.2, 3.0, 3.15, True, "at most +5 %"))
    'guard forgetting: loss 3.2000 (at most +5 %: 3.1500, untouched 3.0000): broken'
    """
    limit = f"{each.bound}: {score(each.limit)}" if each.bound.endswith("%") else each.bound
    found = f"{each.metric} {score(each.value)} ({limit}, untouched {score(each.untouched)})"
    return f"guard {each.name}: {found}: {'broken' if each.is_broken else 'kept'}"


def broken_words(trial: FrozenTrial) -> str:
    """Return which guards a trial breaks, in words; empty if none.

    >>> from optuna.trial import create_trial
    >>> broken_words(create_trial(value=1.0, system_attrs={"constraints:guard old": 0.1}))
    'breaks guard old'
    """
    names = broken_guards(trial.system_attrs)
    return f"breaks guard{'s' * (len(names) > 1)} {', '.join(names)}" if names else ""


def guard_columns(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's values by guard for the table of trials, and the guards that it breaks."""
    if not study.plan.guards:
        return {}
    values = {each.name: each.value for each in scores_of(trial)}
    columns = {f"guard/{guard.name}": values.get(guard.name) for guard in study.plan.guards}
    broken = ", ".join(broken_guards(trial.system_attrs))
    return {**columns, "breaks": broken if values else None}


def guards_as_dicts(study: Study) -> list[dict[str, Any]]:
    """Return each guard with its bound, the untouched value and how many trials break it."""
    ranking = study.ranking
    best, default = ranking.best, ranking.default
    return [
        {
            "name": guard.name,
            "metric": guard.metric,
            "bound": str(guard.bound),
            "untouched": known[0].untouched if known else None,
            "limit": known[0].limit if known else None,
            "best": _value(best, guard.name),
            "default": _value(default, guard.name),
            "num_measured": len(known),
            "num_broken": sum(each.is_broken for each in known),
        }
        for guard in study.plan.guards
        for known in [_known(study, guard.name)]
    ]


def guard_lines(study: Study) -> Iterator[str]:
    """Yield what guards say about a study: of its best trial, its default and all trials."""
    ranking, guards = study.ranking, study.plan.guards
    finished = [trial for trial in study.considered if trial.state.name == "COMPLETE"]
    if not guards or not finished:
        return
    best, default, num_broken = ranking.best, ranking.default, len(ranking.broken)
    if ranking.none_keeps:
        kept = "so nothing is chosen" if best is None else "so the default is kept"
        yield f"Every finished trial breaks a guard, {kept}."
    elif num_broken:
        trials = f"{num_broken} of {len(finished)} finished trials"
        yield f"{trials} break{'s' * (num_broken == 1)} a guard and cannot be the best."
    if best is not None:
        yield from (f"Trial {best.number}, {guard_line(each)}." for each in scores_of(best))
    if default is not None and default.number in ranking.broken and default is not best:
        yield f"The default configuration, trial {default.number}, {broken_words(default)} too."


def _known(study: Study, name: str) -> Sequence[GuardScore]:
    every = (each for trial in study.considered for each in scores_of(trial))
    return [each for each in every if each.name == name]


def _value(trial: FrozenTrial | None, name: str) -> float | None:
    if trial is None:
        return None
    return next((each.value for each in scores_of(trial) if each.name == name), None)
