"""What a person adds to a search: a configuration of theirs, or a trial that must not count."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_modules.error import ConfigError, Problem, SpaceError, Verbatim, did_you_mean
from search.config import Arm
from search.plan.plan import Plan
from search.plan.ranges import default_values
from search.space.key import canonical_key
from search.storage.add import add_trials
from search.storage.attribute import REASON, START
from search.storage.withdraw import UNTRAINED, withdraw
from search.study.follow import refuse_follow_up
from search.study.seeds import SEED
from search.study.study import Study
from search.study.suggest import waiting_trial


@dataclass(frozen=True)
class Pick:
    """A queued configuration.

    Attributes:
        number: The number of its trial.
        values: Its values by config path, those of the default where it names none. In a free
            study, the sampler chooses those.
        budget: The `search.num_trials` that it needs to be trained; None if the study's is enough.

    """

    number: int
    values: Mapping[str, Any]
    budget: int | None


def queue_pick(study: Study, values: Mapping[str, Any]) -> Pick:
    """Queue a configuration as the study's next trial; it counts in the budget.

    Args:
        study: The study.
        values: Values by config path, or options by group. Each must be a path that the study
            searches. Its value may be outside the range if the space is infinite and not free.

    Raises:
        ConfigError: The study does not search a path, a value is refused, the configuration was
            tried before, or the study can have no more trials, or it follows another one.
        SpaceError: A free study does not search a name, or not this value.

    """
    plan = study.plan
    refuse_follow_up(plan.name, plan.composition)
    whole = _free_values(plan, values) if plan.is_free else whole_values(plan, values)
    key = canonical_key(whole)
    trials = study.optuna.get_trials(deepcopy=False)
    known = [trial for trial in trials if trial.user_attrs.get(REASON) != UNTRAINED]
    for trial in known:
        if key in (canonical_key(study.params_of(trial)), trial.system_attrs.get(START)):
            rule = f"study {plan.name} must not have this configuration yet"
            got = Verbatim(f"trial {trial.number}, {trial.state.name.lower()}")
            raise ConfigError(Problem("try", rule, got, "Change a value."))
    if plan.limit is not None and len(trials) >= plan.limit:
        rule = f"study {plan.name} must have fewer than its {plan.limit} possible trials"
        raise ConfigError(Problem("try", rule, len(trials), "Choose values inside the space."))
    if plan.limit is not None:
        _check_counted(plan, whole)
    template = waiting_trial(plan.space, whole)
    again = len(known) < len(trials)  # it may have left the queue untrained
    add_trials(study.tables, study.id, sys.maxsize, [template], again=again)
    start = template.system_attrs[START]
    trials = study.optuna.get_trials(deepcopy=False)
    number = max(t.number for t in trials if t.system_attrs.get(START) == start)
    return Pick(number, whole, number + 1 if number >= plan.num_trials else None)


def drop_trial(study: Study, number: int, *, undo: bool = False) -> str:
    """Take a trial out of consideration, or with `undo` back into it; return what that means.

    The ranking, the sampler and the pruner leave it out; it still counts in the budget. A waiting
    trial leaves the queue; a running one stops at its next validation, like a pruned one.

    Raises:
        ConfigError: There is no such trial, or it left the queue untrained and cannot come back.

    """
    name = study.plan.name
    refuse_follow_up(study.plan.name, study.plan.composition)
    trials = {trial.number: trial for trial in study.optuna.get_trials(deepcopy=False)}
    if number not in trials:
        rule = f"must be a trial of study {name}, 0 to {len(trials) - 1}"
        raise ConfigError(Problem("trial", rule, number))
    trial = trials[number]
    if undo and trial.user_attrs.get(REASON) == UNTRAINED:
        got, fix = Verbatim(f"{number}, which {UNTRAINED}"), "Queue it again with finesweep try."
        raise ConfigError(Problem("undo", "the trial must have been trained", got, fix))
    has_left = (
        not undo and trial.state.name == "WAITING" and withdraw(study.tables, trial._trial_id)
    )
    was_dropped = number in study.dropped
    study.drop(number, undo=undo)
    if undo:
        return "counts again" if was_dropped else "was not dropped"
    if was_dropped:
        return "was dropped before"
    if has_left:
        return "leaves the queue; it still counts in the budget"
    state = "is dropped"
    if not trial.state.is_finished():
        state += ", and stops at its next validation"
    if SEED in study.plan.space.paths:
        state += "; its configuration lacks a seed now, and ranks behind those that have all"
    return state


def whole_values(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the default's values where none are given.

    Raises:
        ConfigError: The study does not search a path, or a value is refused.

    """
    paths = plan.space.paths
    problems = [
        Problem(path, f"study {plan.name} must search it", value, did_you_mean(path, paths))
        for path, value in values.items()
        if path not in paths
    ]
    arm = _arm(plan, values)
    if not problems and arm is None:
        groups = [group for group in plan.space.groups if group in values]
        for group in groups:
            if values[group] not in plan.space.groups[group]:
                rule = f"must be one of {', '.join(plan.space.groups[group])}"
                problems.append(Problem(group, rule, values[group]))
    if not problems and arm is not None:
        whole = default_values(arm)
        for path in values.keys() - whole.keys():
            options = ", ".join(arm.choice.values())
            problems.append(Problem(path, f"{options} must search it", values[path]))
        if not problems:
            whole |= values
            plan.run(whole)
            return whole
    raise ConfigError(problems)


def _free_values(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    if not values:
        raise ConfigError(Problem("try", "must name a setting", Verbatim("nothing")))
    plan.space.by_name(values)  # nothing but its range says what a name may be
    return dict(values)


def _check_counted(plan: Plan, whole: Mapping[str, Any]) -> None:
    """Refuse a value outside its range where the study's combinations are counted.

    It would take the number of one of them, which would never be tried.
    """
    if canonical_key(whole) in map(canonical_key, plan.first):
        return  # such a default is counted
    try:
        plan.space.by_name(whole)
    except SpaceError as error:
        fix = f"Study {plan.name} tries its {plan.limit} combinations only: give a value of these."
        problems = [Problem(p.where, p.rule, p.got, fix) for p in error.problems]
        raise ConfigError(problems) from None


def _arm(plan: Plan, values: Mapping[str, Any]) -> Arm | None:
    default = plan.default_values
    choice = {group: values.get(group, default[group]) for group in plan.space.groups}
    return next((arm for arm in plan.composition.arms if arm.choice == choice), None)
