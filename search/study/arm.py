"""Decide a trial's arm before its values are chosen (`search.study.turn` has the rule)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.plan.plan import Plan
from search.space.key import canonical_key
from search.space.space import Options, Space, Values
from search.storage.attribute import FIXED, METRICS, TURN, broken_guards, dropped_numbers
from search.study.params import params_of
from search.study.turn import Asked, is_opening, next_arm, next_opening

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


def decide_arm(study: optuna.Study, number: int, plan: Plan) -> None:
    """Store the arm of a claimed trial, and the values it opens with, unless it has an arm.

    The sampler chooses the rest inside the arm. If arms do not take turns, it chooses the arm, too,
    unless only some arms have the values that the trial is queued with.
    """
    from search.storage.read import study_attributes

    if len(plan.space.arms) == 1:
        return
    trials = study.get_trials(deepcopy=False)
    storage, trial_id = study._storage, trials[number]._trial_id
    start: Mapping[str, Any] | None = None
    if plan.takes_turns:
        dropped = dropped_numbers(study_attributes(storage, study._study_id))
        start = start_of(plan, trials, number, dropped)
    if start is None:
        start = _in_an_arm(plan.space, params_of(plan.space, trials[number]), number)
    else:
        # Before the values, because a killed worker may leave this one alone.
        storage.set_trial_system_attr(trial_id, TURN, True)
    if start is not None:
        storage.set_trial_system_attr(trial_id, FIXED, plan.space.by_name(start))


def _in_an_arm(space: Space, given: Values, number: int) -> Values | None:
    """Return values with one of the arms that have them; None if an arm is named, or all do."""
    arms = [options for options in space.arms if _admits(space, options, given)]
    if _has_arm(space, given) or not arms or len(arms) == len(space.arms):
        return None
    return {**_choice(space, arms[number % len(arms)]), **given}


def start_of(
    plan: Plan, trials: Sequence[FrozenTrial], number: int, dropped: Collection[int] = ()
) -> dict[str, Any] | None:
    """Return the values that a trial starts with by config path; None if they are decided already.

    Earlier trials whose arm is undecided, e.g. because another worker has claimed one at this
    moment, are decided along the way, as that worker will. Trials that are `dropped` have had their
    turn, but their scores do not count.
    """
    space = plan.space
    asked = list(_asked(plan, [trial for trial in trials if trial.number != number], dropped))
    start: dict[str, Any] | None = None
    for trial in trials[: number + 1]:
        given = params_of(space, trial)
        if trial.state.is_finished() or _has_arm(space, given):
            start = None
            continue
        arms = [options for options in space.arms if _admits(space, options, given)]
        full = _full(space, asked)
        options = next_arm(arms, asked, num_turns(plan), full, halve=len(plan.objectives) == 1)
        if options is None:
            start = None
            continue
        opening = {} if given else next_opening(plan.openings[options], options, asked)
        start = {**_choice(space, options), **opening, **given}
        asked.append(Asked(options, start, is_turn=True, is_running=True))
    return start


def depends_on_results(plan: Plan, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether the arm of the next trial depends on the results of these."""
    return not is_opening(tuple(plan.space.arms), list(_asked(plan, trials)), num_turns(plan))


def num_turns(plan: Plan) -> int:
    """Return the budget without the configurations that are enqueued."""
    return plan.num_trials - (len(plan.first) - len(plan.space.arms))


def _asked(
    plan: Plan, trials: Sequence[FrozenTrial], dropped: Collection[int] = ()
) -> Iterator[Asked]:
    """Yield the trials that have an arm; those that are dropped have no score."""
    name = _chosen_by(plan, [trial for trial in trials if trial.number not in dropped])
    defaults = {canonical_key(values) for values in plan.first[: len(plan.space.arms)]}
    for trial in trials:
        values = params_of(plan.space, trial)
        if not _has_arm(plan.space, values):
            continue
        yield Asked(
            options=plan.space.options_of(values),
            values=values,
            is_turn=TURN in trial.system_attrs or canonical_key(values) in defaults,
            is_running=not trial.state.is_finished(),
            score=None if trial.number in dropped else _score(plan, trial, name),
        )


def _chosen_by(plan: Plan, trials: Sequence[FrozenTrial]) -> str | None:
    """Return the metric that ranks the study's trials; None if it is the objective."""
    if len(plan.objectives) > 1 or not plan.chosen_by:
        return None
    name = plan.chosen_by[0]
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    return name if all(name in trial.user_attrs.get(METRICS, {}) for trial in finished) else None


def _score(plan: Plan, trial: FrozenTrial, name: str | None) -> float | None:
    if trial.state.name != "COMPLETE" or broken_guards(trial.system_attrs):
        return None
    if name is None:
        return plan.objectives[0].sign * float(trial.values[0])
    sign = -1 if plan.default.task.goals[name] == "minimize" else 1
    return sign * float(trial.user_attrs[METRICS][name])


def _has_arm(space: Space, values: Values) -> bool:
    return space.groups.keys() <= values.keys()


def _choice(space: Space, options: Options) -> Mapping[str, str]:
    return dict(zip(space.groups, options, strict=True))


def _admits(space: Space, options: Options, values: Values) -> bool:
    """Return whether the arm has these values."""
    known = {**_choice(space, options), **space.arms[options]}
    choice = _choice(space, options)
    return (
        values.keys() <= known.keys()
        and all(choice.get(path, value) == value for path, value in values.items())
        and space.holds({**choice, **values})
    )


def _full(space: Space, asked: Sequence[Asked]) -> set[Options]:
    """Return the arms whose every combination was asked for."""
    full = set()
    for options, arm in space.arms.items():
        if any(parameter.values is None for parameter in arm.values()):
            continue
        size = math.prod(len(parameter.values or ()) for parameter in arm.values())
        tried = {
            canonical_key(each.values)
            for each in asked
            if each.options == options
            and arm.keys() <= each.values.keys()
            and space.holds(each.values)
        }
        if len(tried) >= size:
            full.add(options)
    return full
