"""Tell the end of a trial that a loop of the caller's own trained (`search.study.ask`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim, nearest
from lightning_modules.outcome import Ending
from search.storage import asked
from search.storage.asked import News
from search.storage.attempt_end import hand_back
from search.storage.attribute import ENDING, METRICS, REASON, VERDICT, constraint
from search.storage.failure import FailureKind
from search.storage.lease import LeaseLost
from search.study.ask import as_number, as_numbers, as_step, held, lease_of, lost
from search.study.report import Advice, Reported, point_of
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RETRIED = {Ending.failed: FailureKind.failed, Ending.interrupted: FailureKind.interrupted}
"""Endings after which the trial waits for its next attempt."""


@dataclass(frozen=True)
class Result:
    """What a loop tells of a trial's end.

    Attributes:
        value: The objective; None if there is none.
        metrics: Other results, by name.
        curve: What was measured on the way by step, as in a report, if it was not reported.
        reason: Why there is no value, or a remark.
        ending: How the trial ended; None if the rest says it.
        seconds: How long it trained; None counts from when it was asked for.

    """

    value: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    reason: str | None = None
    ending: Ending | None = None
    seconds: float | None = None


Curve = Mapping[int, float | Mapping[str, float]] | Sequence[float | Mapping[str, float]]
"""What was measured on the way: by step, or in order for the steps 1, 2, ...; a number is the
objective."""


def result_of(
    objective: str,
    value: float | None = None,
    metrics: Mapping[str, float] | None = None,
    curve: Curve | None = None,
    reason: str | None = None,
    ending: str | None = None,
    seconds: float | None = None,
) -> Result:
    """Return what a caller tells as a result; raise ConfigError if a part has the wrong type."""
    known = [each.value for each in Ending]
    if ending is not None and ending not in known:
        near = nearest(str(ending), known)
        fix = f"Did you mean {near}?" if near else ""
        raise ConfigError(Problem("ending", f"must be one of {', '.join(known)}", ending, fix))
    if not isinstance(reason, str | None):
        raise ConfigError(Problem("reason", "must be text", reason))
    return Result(
        value=None if value is None else as_number("value", value),
        metrics=as_numbers("metrics", {} if metrics is None else metrics),
        curve=_by_step(objective, curve),
        reason=reason,
        ending=None if ending is None else Ending(ending),
        seconds=None if seconds is None else as_number("seconds", seconds),
    )


def _by_step(objective: str, curve: object) -> dict[int, dict[str, float]]:
    if curve is None:
        return {}
    if isinstance(curve, str) or not isinstance(curve, Iterable):
        raise ConfigError(Problem("curve", "must be a list, or a mapping from steps", curve))
    points = curve if isinstance(curve, Mapping) else dict(enumerate(curve, start=1))
    return {
        as_step("curve", step): as_numbers(
            f"curve.{step}", point if isinstance(point, Mapping) else {objective: point}
        )
        for step, point in points.items()
    }


@dataclass(frozen=True)
class Told:
    """What became of a trial that was told.

    Attributes:
        ending: How it ended.
        reason: Why, in words.
        is_retried: Whether it waits for another attempt.

    """

    ending: Ending
    reason: str
    is_retried: bool = False


def tell(study: Study, number: int, result: Result, attempt: int = 1) -> Told:
    """End a trial that was asked for.

    A trial that a report advised to stop is pruned, or diverged, even if a value is given.

    Args:
        study: The study.
        number: The trial's number.
        result: Its result, or why it has none.
        attempt: The attempt that was asked for; 1 is the first.

    Raises:
        ConfigError: The result cannot be used, or the trial is no longer this loop's.

    """
    trial = held(study, number, attempt)
    last = Reported.of(trial)
    advice = None if result.ending or last is None else last.advice
    told = _told(result, advice)
    problems = list(_problems(study, result, told.ending, is_advised=advice is not None))
    if problems:
        raise ConfigError(problems)
    try:
        return (
            _hand_back(study, trial, told) if told.is_retried else _end(study, trial, result, told)
        )
    except LeaseLost:
        raise lost(study, number, attempt) from None


def _told(result: Result, advice: Advice | None) -> Told:
    ending, reason = result.ending, result.reason
    if ending is None and advice is not None:
        ending, reason = advice.ending, reason or advice.reason
    if ending is None:
        ending = Ending.finished if result.value is not None else Ending.infeasible
    return Told(ending, reason or "told by its loop", ending in RETRIED)


def _problems(
    study: Study, result: Result, ending: Ending, *, is_advised: bool
) -> Iterator[Problem]:
    name = study.plan.objectives[0].short
    if result.value is None and ending is Ending.finished:
        fix = 'Tell its value, or why it has none: reason="out of memory".'
        yield Problem("value", f"a finished trial must have its {name}", Verbatim("nothing"), fix)
    if result.value is None and result.reason is None and result.ending is None and not is_advised:
        fix = 'Tell its value, or why it has none: reason="out of memory".'
        yield Problem("value", "must be set, or else a reason", Verbatim("nothing"), fix)
    if result.value is not None and result.ending not in (None, Ending.finished):
        rule = f"must not be set if the ending is {ending.value}"
        yield Problem("value", rule, result.value, "Tell one of both.")
    elif result.value is not None and ending is Ending.finished and not math.isfinite(result.value):
        fix = 'A number that is not finite is no result: tell ending="diverged" in its place.'
        yield Problem("value", "must be a finite number", Verbatim(str(result.value)), fix)
    numbers = {f"metrics.{name}": number for name, number in result.metrics.items()}
    for step, metrics in result.curve.items():
        numbers |= {f"curve.{step}.{name}": number for name, number in metrics.items()}
    for where, number in numbers.items():
        if not math.isfinite(number):
            yield Problem(where, "must be a finite number", Verbatim(str(number)))
    if result.seconds is not None and not 0 <= result.seconds < math.inf:
        yield Problem("seconds", "must be >= 0", result.seconds)


def _hand_back(study: Study, trial: FrozenTrial, told: Told) -> Told:
    max_attempts = study.plan.search.settings.max_attempts
    lease, kind = lease_of(trial), RETRIED[told.ending]
    end = hand_back(study.tables, trial._trial_id, lease, kind, told.reason, max_attempts)
    if end is None:
        raise LeaseLost("another process ended it")
    asked.close(study.tables, lease, told.reason)
    if end.ending is not None:
        return Told(end.ending, end.verdict)
    return told


def _end(study: Study, trial: FrozenTrial, result: Result, told: Told) -> Told:
    from optuna.trial import TrialState

    is_result = told.ending is Ending.finished and result.value is not None
    scores = {study.plan.objectives[0].short: result.value} if is_result else {}
    values = {
        ENDING: told.ending.value,
        REASON: told.reason,
        VERDICT: None,
        METRICS: {**scores, **result.metrics, **scores},
    }
    # The sampler learns from a violated constraint, but ignores a failure.
    is_violated = told.ending in (Ending.diverged, Ending.infeasible)
    system = {constraint(told.ending): 1.0} if is_violated else {}
    name = study.plan.objectives[0].short
    curve = [point_of(step, result.curve[step]) for step in sorted(result.curve)]
    state = TrialState.COMPLETE if is_result else TrialState.PRUNED
    objectives = [] if result.value is None else [result.value]
    if not is_result:  # like Optuna, which gives a pruned trial its last value
        shown = {point.step: point.metrics[name] for point in curve if name in point.metrics}
        shown = shown or trial.intermediate_values
        objectives = [shown[max(shown)]] if shown else []
    news, lease = News(curve, name, values, system), lease_of(trial)
    asked.end(study.tables, trial._trial_id, lease, news, state, objectives, result.seconds)
    return told
