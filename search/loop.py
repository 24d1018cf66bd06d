"""The loop of a worker: take the next attempt, train it, tell how it ended."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable

from lightning_modules.error import UserError
from lightning_modules.logger.base import Identity
from lightning_modules.record import Ending, Outcome, Point
from lightning_modules.run import Hooks, fit
from lightning_modules.warm import Warm
from search.artifact import FOLDER as ARTIFACTS
from search.artifact import show_trial
from search.event import Began, Ended, Event, Note, Prepared, Progressed
from search.lease import Worker
from search.publish import tags_of
from search.study import Attempt, Study

MAX_FAILURES_IN_A_ROW = 3

log = logging.getLogger(__name__)

Emit = Callable[[Event], None]


def work(study: Study, worker: Worker, interrupted: Callable[[], bool], emit: Emit) -> None:
    """Train trials until the budget is used up or `interrupted` says to stop.

    Raises:
        UserError: What the trials need is not there (any more).
        RuntimeError: Several trials in a row failed: the fault is not the trials'.

    """
    warm = Warm()
    num_failures = 0
    while not interrupted():
        attempt = study.next_attempt(worker)
        if attempt is None:
            return
        emit(Began(attempt.number, attempt.attempt, attempt.values))
        try:
            outcome = _train(study, attempt, interrupted, emit, warm)
        except UserError as error:
            study.release(
                attempt, str(error)
            )  # not the trial's fault: it can run once it is mended
            raise
        except Exception as error:  # the one place where a trial's failure is recorded and counted
            log.exception("trial %d failed", attempt.number)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            _show(study, attempt, reason)
            study.failed(attempt, reason)
            emit(Ended(attempt.number, "failed", reason, None, 0.0))
            num_failures += 1
            if num_failures == MAX_FAILURES_IN_A_ROW:
                message = f"{num_failures} trials in a row failed, the last one with {reason}"
                raise RuntimeError(message) from error
        else:
            num_failures = 0
            if outcome.ending is not Ending.interrupted:
                _show(study, attempt)
            study.ended(attempt, outcome)
            emit(_ended(study, attempt, outcome))


def _train(
    study: Study, attempt: Attempt, interrupted: Callable[[], bool], emit: Emit, warm: Warm
) -> Outcome:
    name = f"{study.plan.name} trial {attempt.number}"
    if attempt.attempt > 1:
        name = f"{name} attempt {attempt.attempt}"
        emit(Note(f"trial {attempt.number} goes on from its last checkpoint"))
    run = study.plan.run(attempt.values)
    tags = tags_of(run.flat())
    identity = Identity(name, study.plan.name, study.folder, job_type="trial", tags=tags)
    hooks = _Hooks(study, attempt, interrupted, emit)
    try:
        return fit(run, attempt.folder, identity, hooks, warm, study.data_fingerprint)
    finally:
        _free_memory()


def _show(study: Study, attempt: Attempt, failure: str | None = None) -> None:
    """Give the trial what a dashboard shows of it, before it is told and can take nothing more."""
    show_trial(
        study.optuna,
        study.trial(attempt.number),
        attempt.folder,
        study.folder / ARTIFACTS,
        study.plan.default.task.metric,
        failure,
    )


def _free_memory() -> None:
    """Let go of the trial's network before the next one is made."""
    import torch

    gc.collect()  # Lightning's trainer and module refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _Hooks(Hooks):
    """Carries a run's news to its study."""

    def __init__(
        self, study: Study, attempt: Attempt, interrupted: Callable[[], bool], emit: Emit
    ) -> None:
        self._study = study
        self._attempt = attempt
        self._interrupted = interrupted
        self._emit = emit

    def began(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self._study.began(self._attempt, num_examples, stable_examples)
        self._emit(Prepared(self._attempt.number, hardware))

    def progress(self, point: Point) -> str | None:
        value = point.metrics[self._study.plan.default.task.metric]
        self._emit(Progressed(self._attempt.number, point.epoch, value, point.seconds))
        return self._study.progress(self._attempt, point)

    def interrupted(self) -> bool:
        return self._interrupted()


def _ended(study: Study, attempt: Attempt, outcome: Outcome) -> Ended:
    finished = outcome.ending is Ending.finished and outcome.best is not None
    best = outcome.best.metrics[study.plan.default.task.metric] if outcome.best else None
    return Ended(
        attempt.number,
        outcome.ending.value,
        outcome.reason,
        best if finished else None,
        outcome.seconds,
    )
