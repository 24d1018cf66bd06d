"""Trials that a loop of the caller's own trains: it asks for one, reports on it and tells its end.

Such a loop needs nothing of ours but the study: no model, no data, no process that lives on between
two calls. So each trial that was asked for has a lease of its own (`search.storage.asked`), for
`search.ask_hours` after the last report. Then the trial returns to the queue, as after the death of
a worker, and its next attempt has another number: what the late loop tells is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim
from search.storage.attribute import ATTEMPT, ATTEMPTS, REASON, WORKER
from search.storage.failure import FailedAttempt
from search.study.attempt import Attempt
from search.study.heal import heal
from search.study.open import open_study
from search.study.session import join
from search.study.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SECONDS_PER_HOUR = 3600


def ask(study: Study) -> Attempt | None:
    """Return the next trial, leased for `search.ask_hours`; None if none is available now.

    None may be followed by a trial, as long as others that were asked for have not ended: one whose
    lease is over is available again.
    """
    check_asked(study)
    if not _has_next(study):
        return None
    session = join(open_study(study.plan, study.folder))
    try:
        attempt = session.next_attempt()
        if attempt is not None:
            session.entrust(study.plan.search.settings.ask_hours * SECONDS_PER_HOUR)
            return attempt
    except BaseException:
        session.leave("interrupted while it asked for a trial")
        raise
    session.leave()
    return None


def _has_next(study: Study) -> bool:
    """Return whether a trial may be available, without joining the study to find out."""
    trials = study.trials
    if len(trials) < study.plan.num_trials or any(t.state.name == "WAITING" for t in trials):
        return True
    return bool(heal(study))


def check_asked(study: Study) -> None:
    """Raise ConfigError unless a loop of the caller's own trains the study's trials."""
    if not study.plan.is_asked:
        rule = "must have been started with search.ask_tell=true"
        fix = "Its trials are trained by finesweep sweep or worker."
        raise ConfigError(Problem("study", rule, study.plan.name, fix))


def check_trained(study: Study) -> None:
    """Raise ConfigError if a loop of the caller's own trains the study's trials."""
    if study.plan.is_asked:
        rule = "must be trained by finesweep"
        got = Verbatim(f"{study.plan.name}, which was started with search.ask_tell=true")
        fix = "A loop of yours trains it, and has its models."
        raise ConfigError(Problem("study", rule, got, fix))


def handle(number: int, attempt: int) -> str:
    """Return the text by which commands name an attempt.

    >>> handle(3, 1), handle(3, 2)
    ('3', '3.2')
    """
    return str(number) if attempt == 1 else f"{number}.{attempt}"


def held(study: Study, number: int, attempt: int) -> FrozenTrial:
    """Return a trial whose attempt has a lease; raise ConfigError if it has none any more."""
    trials = study.trials
    if not 0 <= number < len(trials):
        rule = f"must be a trial of study {study.plan.name}, 0 to {len(trials) - 1}"
        raise ConfigError(Problem("trial", rule, number))
    trial = trials[number]
    if trial.state.is_finished():
        how = f"{number}, which is {trial.state.name.lower()}: {trial.user_attrs.get(REASON)}"
        raise ConfigError(Problem("trial", "must not have ended", Verbatim(how)))
    if trial.state.name == "WAITING" or trial.user_attrs.get(ATTEMPT) != attempt:
        raise ConfigError(_late(trial, attempt))
    return trial


def lost(study: Study, number: int, attempt: int) -> ConfigError:
    """Return the error of an attempt whose lease ended just now."""
    try:
        held(study, number, attempt)
    except ConfigError as error:
        return error
    return ConfigError(_late(study.trial(number), attempt))


def as_number(where: str, value: object) -> float:
    """Return a number of a caller, e.g. of NumPy, as a float; it may be NaN or infinite."""
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(Problem(where, "must be a number", value)) from None


def as_numbers(where: str, values: object) -> dict[str, float]:
    """Return numbers of a caller by name."""
    if not isinstance(values, Mapping):
        raise ConfigError(Problem(where, "must be numbers by name", values))
    return {str(name): as_number(f"{where}.{name}", value) for name, value in values.items()}


def as_count(where: str, value: object) -> int:
    """Return a number of a trial or an attempt of a caller."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(Problem(where, "must be a whole number", value)) from None


def as_step(where: str, value: object) -> int:
    """Return a step of a caller as a whole number."""
    number = as_number(where, value)
    if not number.is_integer() or number < 0:
        raise ConfigError(Problem(where, "a step must be a whole number >= 0", value))
    return int(number)


def lease_of(trial: FrozenTrial) -> str:
    """Return the name of the lease of a trial that was asked for."""
    return str(trial.user_attrs[WORKER])


def _late(trial: FrozenTrial, attempt: int) -> Problem:
    ends = [FailedAttempt.from_dict(end) for end in trial.user_attrs.get(ATTEMPTS, ())]
    reason = next((end.reason for end in ends if end.attempt == attempt), "it was not asked for")
    rule = f"attempt {attempt} must have its lease"
    fix = "Ask for a trial again."
    if trial.state.name == "RUNNING":
        now = trial.user_attrs.get(ATTEMPT, 1)
        name = f"trial={handle(trial.number, now)}, or attempt={now} in Python"
        fix = f"If you asked for attempt {now}, write {name}."
    got = Verbatim(f"{trial.number}: {reason}")
    return Problem("trial", rule, got, fix)
