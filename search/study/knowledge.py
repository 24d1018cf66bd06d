"""What a study's sampler learns from: its own trials, as far as they count, and prior ones.

A dropped trial does not count. A trial from before its range was changed is shown with today's
ranges, because samplers leave out a parameter whose range differs between trials. A number outside
the range is shown too, and `bayes` and `tpe` learn from it, also if it never was inside, e.g. a
default or a configuration of `finesweep try`. A choice that is not in the range cannot be shown,
nor a number that a log scale does not have. Such a trial is left out whole: Optuna's samplers
model those parameters alone that all trials share. The prior trials come from another study, see
`search.study.warm`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from search.space.space import Parameter, Space, Values
from search.storage.attribute import PRIOR, VALUES, dropped_numbers

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.sampler.base import View

Prior = Mapping[str, Any]
"""What a study has taken over, as its storage holds it: `search.study.warm.Warm.as_dict()`."""


def view_of(study: optuna.Study, space: Space, prior: Prior | None = None) -> View:
    """Return the function from the trials of a study to those that its sampler sees.

    Args:
        study: The study.
        space: Its space.
        prior: What it has taken over; None reads it from the study's storage.

    """
    from search.storage.read import study_attributes

    ended: dict[int, FrozenTrial] = {}  # as they are shown: they change no more

    def shown(trial: FrozenTrial) -> FrozenTrial:
        if not trial.state.is_finished():
            return in_space(trial, space)
        if trial.number not in ended:
            ended[trial.number] = in_space(trial, space)
        return ended[trial.number]

    def view(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        attributes = study_attributes(study._storage, study._study_id)
        dropped = dropped_numbers(attributes)
        own = [shown(trial) for trial in trials if trial.number not in dropped]
        taken_over = prior or attributes.get(PRIOR)
        return own if not taken_over else [*prior_trials(taken_over, space, own), *own]

    return view


def in_space(trial: FrozenTrial, space: Space) -> FrozenTrial:
    """Return the trial with the ranges of the space; without parameters if one is not shown."""
    if VALUES in trial.user_attrs:
        # Optuna holds no parameters of a trial that was queued with a value outside its range.
        return _with_values(copy.copy(trial), space, trial.user_attrs[VALUES])
    parameters = {n: space.parameters[n] for n in trial.params if n in space.parameters}
    if {name: p.distribution for name, p in parameters.items()} == trial.distributions:
        return trial
    return _with_params(copy.copy(trial), parameters, trial.params)


def prior_trials(prior: Prior, space: Space, own: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the prior observations as trials, with negative numbers.

    The scores of other rows or of another model are shifted, so that their median is that of the
    study's own.

    Args:
        prior: The observations.
        space: The study's space.
        own: Its own trials.

    """
    from optuna.trial import TrialState, create_trial

    known = [each["scores"] for each in prior["trials"] if not each["constraints"]]
    scores = [each for each in known if each is not None]
    finished = [trial.values for trial in own if trial.state is TrialState.COMPLETE]
    shifts = [0.0] * len(scores[0]) if scores else []
    is_comparable = prior["same_rows"] and prior.get("same_model", True)
    if not is_comparable and finished and scores:
        columns = zip(zip(*finished, strict=True), zip(*scores, strict=True), strict=True)
        shifts = [median(mine) - median(its) for mine, its in columns]
    trials = []
    for number, each in enumerate(prior["trials"], start=1):
        # Earlier versions stored a score of trials that diverged.
        values = None if each["constraints"] else each["scores"]
        if values is not None:
            values = [value + shift for value, shift in zip(values, shifts, strict=True)]
        trial = create_trial(
            state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
            values=values,
            system_attrs=dict(each["constraints"]),
        )
        trial.number = -number
        trials.append(_with_values(trial, space, each["values"]))
    return trials


def _with_values(trial: FrozenTrial, space: Space, values: Values) -> FrozenTrial:
    """Return the trial with values by config path; without parameters if its arm is gone."""
    arm = space.arms.get(tuple(str(values.get(group)) for group in space.groups))
    if arm is None or not arm.keys() <= values.keys():
        return trial
    parameters = [*(space.parameters[group] for group in space.groups), *arm.values()]
    params = {parameter.name: values[parameter.path] for parameter in parameters}
    return _with_params(trial, {parameter.name: parameter for parameter in parameters}, params)


def _with_params(
    trial: FrozenTrial, parameters: Mapping[str, Parameter], params: Mapping[str, Any]
) -> FrozenTrial:
    shown = {name: params[name] for name in parameters}
    if not all(_is_shown(parameters[name], value) for name, value in shown.items()):
        shown = {}
    trial.params = shown
    trial.distributions = {name: parameters[name].distribution for name in shown}
    return trial


def _is_shown(parameter: Parameter, value: Any) -> bool:
    if hasattr(parameter.distribution, "choices"):
        return parameter.allows(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (value > 0 or not getattr(parameter.distribution, "log", False))
