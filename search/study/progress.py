"""What the storage holds of the trials' validations, for the study's pruner."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from search.plan.plan import Plan
from search.pruner.base import Pruner
from search.pruner.progress import LOSS, METRIC, Mark, Progress
from search.storage.attribute import CURVE, LENGTH, broken_guards
from search.storage.curve import StoredPoint, points_of
from search.study.seeds import SEED, configuration
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


STOPPED = "stopped on request"
"""Why a trial ended that was dropped while it ran."""


def reason_to_stop(study: Study, number: int, examples: int, validation: int) -> str | None:
    """Return why a trial is to end now, because it was dropped or by the study's pruner, or None.

    Args:
        study: The study.
        number: The trial's number.
        examples: Where its new validation lies, which is stored; the trial may have later ones
            from an earlier attempt.
        validation: The number of that validation, from 1.

    """
    from optuna.trial import TrialState

    plan = study.plan
    if number in study.dropped:
        return STOPPED
    if len(plan.objectives) > 1:
        return None  # worse in one objective, it may still be on the Pareto front
    if type(plan.search.pruner).reason_to_stop is Pruner.reason_to_stop:
        return None  # it never prunes, so nothing is read
    trials = {trial.number: trial for trial in study.considered}
    trial = trials.pop(number, None) or study.trial(number)  # the budget may exclude it by now
    values = study.params_of(trial)
    arm = plan.space.options_of(values)
    # One that breaks a guard is no rival: what it scored may be what must not be reached.
    others = [other for other in trials.values() if not broken_guards(other.system_attrs)]
    if SEED in plan.space.paths and any(
        other.state is TrialState.COMPLETE
        and configuration(study.params_of(other)) == configuration(values)
        for other in others
    ):
        return None  # a mean without its worst seed would be luck
    rivals = (
        progress_of(other, plan)
        for other in others
        if _was_validated(other) and plan.space.options_of(study.params_of(other)) == arm
    )
    return plan.search.pruner.reason_to_stop(
        progress_of(trial, plan).until(examples),
        validation,
        rivals,
        num_finished=sum(other.state is TrialState.COMPLETE for other in others),
    )


def _was_validated(trial: FrozenTrial) -> bool:
    return bool(trial.intermediate_values or trial.system_attrs.get(CURVE))


def progress_of(trial: FrozenTrial, plan: Plan) -> Progress:
    """Return a trial's progress.

    The validations of trials that were begun before the whole curve was stored have the metric
    alone.
    """
    from optuna.trial import TrialState

    num_examples, stable_examples = trial.user_attrs.get(LENGTH, (None, None))
    curve = tuple(_marks(trial, plan))
    can_win = trial.state not in (TrialState.PRUNED, TrialState.FAIL)
    return Progress(trial.number, curve, num_examples, stable_examples, can_win)


def _marks(trial: FrozenTrial, plan: Plan) -> Iterator[Mark]:
    points = points_of(trial.system_attrs.get(CURVE, ()))
    first = points[0].examples if points else math.inf
    for examples, value in sorted(trial.intermediate_values.items()):
        if examples < first:
            yield Mark(None, examples, None, {METRIC: plan.objectives[0].sign * value})
    for point in points:
        yield Mark(point.step, point.examples, point.epoch, _values(point, plan))


def _values(point: StoredPoint, plan: Plan) -> dict[str, float]:
    """Return what a validation measured by name; larger is better."""
    objective = plan.objectives[0]
    directions = {} if plan.is_free else plan.default.task.goals
    values = {
        name: value if directions[name] == "maximize" else -value
        for name, value in point.metrics.items()
        if name in directions
    }
    if objective.short in point.metrics:
        values[METRIC] = objective.sign * point.metrics[objective.short]
    if not plan.losses_differ and not math.isnan(point.validation_loss):
        values[LOSS] = -point.validation_loss  # a loop of the caller's own may report none
    return values
