"""Report on a trial that a loop of the caller's own trains, and learn whether to stop it.

A report renews the trial's lease (`search.study.ask`) and is judged by the study's pruner, as the
validations of our own training are. A loss that is NaN or infinite is a reason to stop too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.outcome import Ending
from search.storage import asked
from search.storage.asked import News
from search.storage.attribute import ATTEMPT, CURVE, PROGRESS, REPORTED
from search.storage.curve import StoredPoint, points_of
from search.storage.lease import LeaseLost
from search.study.ask import held, lease_of, lost
from search.study.progress import reason_to_stop
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LOSS = "loss"


@dataclass(frozen=True)
class Advice:
    """Why a trial should stop.

    Attributes:
        ending: `pruned`, or `diverged` if a number was NaN or infinite.
        reason: Why, in words.

    """

    ending: Ending
    reason: str


@dataclass(frozen=True)
class Reported:
    """The last report on a trial.

    Attributes:
        attempt: The attempt that it came from.
        step: Its step.
        number: How many reports there were, up to this step.
        advice: Why to stop; None if the trial should continue.

    """

    attempt: int
    step: int
    number: int
    advice: Advice | None = None

    def as_list(self) -> list[Any]:
        """Return it as plain values, for the storage."""
        advice = self.advice and [self.advice.ending.value, self.advice.reason]
        return [self.attempt, self.step, self.number, advice]

    @classmethod
    def of(cls, trial: FrozenTrial) -> Self | None:
        """Return the last report of the trial's current attempt; None if there is none."""
        values = trial.user_attrs.get(REPORTED)
        if values is None or values[0] != trial.user_attrs.get(ATTEMPT):
            return None
        attempt, step, number, advice = values
        return cls(attempt, step, number, advice and Advice(Ending(advice[0]), advice[1]))


def report(
    study: Study, number: int, step: int, metrics: Mapping[str, float], attempt: int = 1
) -> Advice | None:
    """Store what a trial measured after `step`; return why it should stop, or None.

    A trial that should stop once should stop for good: a later report takes nothing back.

    Args:
        study: The study.
        number: The trial's number.
        step: How far it is, >= the last step, in any unit that all trials share.
        metrics: What was measured: the validation loss as `loss`, and metrics by name.
        attempt: The attempt that was asked for; 1 is the first.

    Raises:
        ConfigError: The report cannot be used, or the trial is no longer this loop's.

    """
    trial = held(study, number, attempt)
    last = Reported.of(trial)
    problems = list(_problems(study, step, metrics, last))
    if problems:
        raise ConfigError(problems)
    divergence = _divergence(step, metrics)
    advice = last.advice if last and last.advice else divergence
    num_reports = last.number + (step > last.step) if last else _num_before(trial, step) + 1
    reported = Reported(attempt, step, num_reports, advice)
    curve = [] if divergence else [point_of(step, metrics)]
    try:
        _store(study, trial, curve, reported)
        if advice is None:
            reason = reason_to_stop(study, trial.number, step, num_reports)
            advice = None if reason is None else Advice(Ending.pruned, reason)
            if advice is not None:
                _store(study, trial, [], replace(reported, advice=advice))
    except LeaseLost:
        raise lost(study, number, attempt) from None
    return advice


def point_of(step: int, metrics: Mapping[str, float]) -> StoredPoint:
    """Return what a loop measured after `step` in the form of a validation.

    Its steps are in the loop's own unit, which stands for steps, examples and epochs alike.
    """
    loss = metrics.get(LOSS, math.nan)
    return StoredPoint(step, step, float(step), math.nan, loss, dict(metrics))


def _problems(
    study: Study, step: int, metrics: Mapping[str, float], last: Reported | None
) -> Iterator[Problem]:
    compared = dict.fromkeys((LOSS, study.plan.objectives[0].short))
    if not compared.keys() & metrics.keys():
        fix = f"Report one, e.g. {LOSS}=0.4: the pruner compares it."
        rule = f"must have {' or '.join(compared)}"
        yield Problem("report", rule, Verbatim(", ".join(metrics) or "nothing"), fix)
    if last is not None and step < last.step:
        yield Problem("step", f"must be >= {last.step}, the last reported one", step)


def _divergence(step: int, metrics: Mapping[str, float]) -> Advice | None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            return Advice(Ending.diverged, f"{name} was {value} at step {step}")
    return None


def _num_before(trial: FrozenTrial, step: int) -> int:
    """Return how many validations of earlier attempts this one continues from."""
    return sum(point.step < step for point in points_of(trial.system_attrs.get(CURVE, ())))


def _store(
    study: Study, trial: FrozenTrial, curve: Sequence[StoredPoint], reported: Reported
) -> None:
    assert trial.datetime_start is not None, "it was asked for"
    now = time.time()
    seconds = max(0.0, now - trial.datetime_start.timestamp())
    values = {REPORTED: reported.as_list(), PROGRESS: [round(seconds, 3), now]}
    news = News(curve, study.plan.objectives[0].short, values)
    asked.report(study.tables, trial._trial_id, lease_of(trial), news)
