"""The loop of a worker: claim an attempt, train it, store how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from lightning_modules.cache import Cache
from lightning_modules.check import check_same_rows, load_rows
from lightning_modules.error import UserError
from lightning_modules.fit.pack.pack import Member, fit_pack
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity, Logs
from lightning_modules.machine.memory import free_memory
from lightning_modules.outcome import Ending, Outcome, Point
from lightning_modules.run import Run
from lightning_modules.trainer import AUTO
from search.report.dashboard.page import show_trial, shown_of
from search.report.guard import guard_line
from search.report.wandb import tags_of
from search.storage.failure import FailureKind
from search.storage.lease import LeaseLost
from search.storage.retry import StorageGone
from search.study.attempt import Attempt
from search.study.session import Session
from search.study.study import Study
from search.worker.event import Alive, Began, Ended, Event, Note, Prepared, Progressed, event_of

ALIVE_SECONDS = 1.0  # between heartbeats in one phase of an attempt
POLL_SECONDS = 1.0  # between checks for a trial that was returned
HOURS_POLL_SECONDS = 10.0  # between checks of the time that all workers used
# A worker leaks if it holds this much more memory than after its first trial.
LEAK_BYTES = 2 * 2**30
LEAK_FACTOR = 2.0

log = logging.getLogger(__name__)

Emit = Callable[[Event], None]


class Replace(Exception):
    """The process is unfit for another trial and must be replaced."""


def work(session: Session, interrupted: Callable[[], bool], emit: Emit) -> None:
    """Train trials of a joined study until it is over or `interrupted` returns True.

    Before it returns or raises, what the trials logged is sent, for a bounded time.

    Raises:
        UserError: Something that the trials need is missing.
        Replace: The process may leak memory or be broken.
        LeaseLost: Another process ended this worker's lease.
        StorageGone: The storage did not answer before a requested stop.

    """
    study = session.study
    logs = study.plan.default.logger.start(study.folder)
    try:
        _work_all(session, interrupted, emit, logs)
    finally:
        emit(Alive("sending what was logged"))
        for note in logs.close(in_a_hurry=interrupted()):
            emit(Note(note))


def _work_all(session: Session, interrupted: Callable[[], bool], emit: Emit, logs: Logs) -> None:
    """Train trials: together those that can, and else one after the other."""
    cache, memory, has_freed = Cache(), _Memory(), True
    settings = session.study.plan.search.settings
    size = settings.pack_size
    while not interrupted():
        attempts = session.next_pack(size)
        if not attempts:
            if session.study.is_over:
                return
            # Other workers have the rest. If one dies, its trial returns to the queue. Meanwhile
            # they can have the memory of what this one keeps.
            if not has_freed:
                session.set_busy(False)
                cache, has_freed = Cache(), True
                free_memory()
            emit(Alive("waiting for the trials of other workers"))
            time.sleep(POLL_SECONDS)
            continue
        has_freed = False
        trial = _Trial(session, interrupted, emit, cache, logs, memory)
        had_to_part = trial.train(attempts, must_pay=settings.pack == AUTO)
        if had_to_part and settings.pack == AUTO:
            size = 1
        memory.check()


@dataclass(frozen=True)
class _Trial:
    """Trains attempts and stores how they ended."""

    session: Session
    interrupted: Callable[[], bool]
    emit: Emit
    cache: Cache
    logs: Logs
    memory: _Memory

    def train(self, attempts: Sequence[Attempt], *, must_pay: bool) -> bool:
        """Train one attempt, or several that may share passes and those that can take their places.

        Returns: Whether several had to train one by one.
        """
        raised: list[BaseException] = []

        def ended(attempt: Attempt, result: Outcome | BaseException) -> None:
            try:
                self._store(attempt, result)
            except BaseException as error:  # raised once the others have ended
                raised.append(error)

        def member_of(attempt: Attempt) -> Member | None:
            try:
                return self._member(attempt, partial(ended, attempt))
            except Exception as error:
                ended(attempt, error)
                return None

        def next_member() -> Member | None:
            free_memory()  # of the trial that has ended
            if raised or self.interrupted() or self.memory.growth() is not None:
                return None
            try:
                attempt = self.session.next_mate(attempts[0])
            except Exception as error:
                raised.append(error)
                return None
            if attempt is None:
                return None
            self._say_began(attempt)
            return member_of(attempt)

        for attempt in attempts:
            self._say_began(attempt)
        with self._busy():
            members = [member for each in attempts if (member := member_of(each)) is not None]
            sharing = (
                fit_pack(members, self.cache, self.logs, self._say, next_member, must_pay=must_pay)
                if members
                else None
            )
        for kind in (LeaseLost, StorageGone, UserError, BaseException):
            if of_kind := [each for each in raised if isinstance(each, kind)]:
                raise of_kind[0]
        return sharing is not None and sharing.refusal is not None

    def _say_began(self, attempt: Attempt) -> None:
        self.emit(Began(attempt.number, attempt.attempt, attempt.values))
        for note in attempt.notes:
            self._say(note)

    def _say(self, text: str) -> None:
        self.emit(Note(text))

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Count the time inside the block as training.

        The time between two trials is short, and to store its start and end takes longer. Only a
        limit on the time of training needs it exactly.
        """
        is_limited = self.session.study.plan.search.settings.max_hours is not None
        self.session.set_busy(True, at_once=is_limited)
        try:
            yield
        finally:
            free_memory()
            with suppress(StorageGone):
                self.session.set_busy(False, at_once=is_limited)

    def _member(self, attempt: Attempt, ended: Callable[[Outcome | BaseException], None]) -> Member:
        """Return what to train, with its rows."""
        study = self.session.study
        name = f"{study.plan.name} trial {attempt.number}"
        if attempt.attempt > 1:
            name = f"{name} attempt {attempt.attempt}"
        run = _run_of(study, attempt)
        tags = tags_of(run.flat())
        identity = Identity(name, study.plan.name, study.folder, job_type="trial", tags=tags)
        strategy = run.flat()["strategy"]
        hooks = _Hooks(self.session, attempt, strategy, self.interrupted, self.emit)
        hooks.heartbeat("loading the data")
        rows = load_rows(run, self.cache)
        check_same_rows(study.fingerprint_of(rows.corpus), study.data_fingerprint)
        return Member(run, attempt.folder, identity, hooks, ended, rows, study.plan.guards)

    def _store(self, attempt: Attempt, result: Outcome | BaseException) -> None:
        """Store how an attempt ended, or what it raised; raise what ends the worker."""
        session, study, emit = self.session, self.session.study, self.emit
        if isinstance(result, UserError):
            # Not the trial's fault: it can run once the user fixes the cause.
            session.hand_back(attempt, FailureKind.interrupted, str(result), None)
            raise result
        if isinstance(result, LeaseLost | StorageGone) or not isinstance(
            result, Exception | Outcome
        ):
            raise result
        if isinstance(result, Exception):  # where a trial's failure is recorded and counted
            log.error("trial %d failed", attempt.number, exc_info=result)
            reason = f"{type(result).__name__}: {result}".splitlines()[0]
            # Before its trial may end, and becomes read-only.
            show_trial(study.optuna, study.trial(attempt.number), attempt.folder, reason)
            emit(event_of(session.hand_back(attempt, FailureKind.failed, reason, None)))
            raise Replace(f"an error in trial {attempt.number}") from result
        if result.ending is Ending.interrupted:
            reason = result.reason
            if study.out_of_time is not None:
                reason += f": {study.out_of_time}"
            session.hand_back(attempt, FailureKind.interrupted, reason, result.seconds)
            emit(Ended(attempt.number, Ending.interrupted, reason, None, result.seconds))
            return
        is_infeasible = result.ending is Ending.infeasible
        if is_infeasible and (end := session.retry_alone(attempt, result)) is not None:
            emit(event_of(end))
            raise Replace(f"trial {attempt.number} ran out of memory")
        shown = shown_of(study.optuna, study.trial(attempt.number), attempt.folder)
        session.ended(attempt, result, shown)
        for guard in result.guards:
            if guard.is_broken:
                emit(Note(f"trial {attempt.number}, {guard_line(guard)}"))
        emit(_ended(study, attempt, result))
        if is_infeasible:
            raise Replace(f"trial {attempt.number} ran out of memory")


def _run_of(study: Study, attempt: Attempt) -> Run:
    run = study.plan.run(attempt.values)
    if attempt.micro_batch_size is None:
        return run
    return replace(run, trainer=replace(run.trainer, micro_batch_size=attempt.micro_batch_size))


class _Hooks(Hooks):
    """Stores a run's progress in its study."""

    def __init__(
        self,
        session: Session,
        attempt: Attempt,
        strategy: str,
        interrupted: Callable[[], bool],
        emit: Emit,
    ) -> None:
        self._session = session
        self._strategy = strategy
        self._attempt = attempt
        self._interrupted = interrupted
        self._emit = emit
        self._hours = _Hours(session.study)
        self._last_sign = 0.0
        self._phase = ""
        self._built = (0, 0)

    def heartbeat(self, doing: str) -> None:
        now, phase = time.monotonic(), doing.partition(",")[0]
        # Report every phase: a hang is attributed to the last reported activity.
        if phase != self._phase or now - self._last_sign >= ALIVE_SECONDS:
            self._last_sign, self._phase = now, phase
            self._emit(Alive(doing))

    def warn(self, text: str) -> None:
        self._emit(Note(f"trial {self._attempt.number}: {text}"))

    def on_checkpoint(self, step: int) -> None:
        self._session.saved(self._attempt, step)

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self._built = num_trainable, num_parameters

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self._session.began(self._attempt, num_examples, stable_examples)
        self._emit(Prepared(self._attempt.number, hardware, self._strategy, *self._built))

    def on_validation(self, point: Point) -> str | None:
        value = point.metrics[self._session.study.plan.default.task.metric]
        self._emit(Progressed(self._attempt.number, point.epoch, value, point.seconds))
        return self._session.progress(self._attempt, point)

    def interrupted(self) -> bool:
        if self._session.is_lost:  # noticed by the thread that renews the lease
            raise LeaseLost("other workers continue its trial")
        return self._interrupted() or self._hours.are_over()


class _Hours:
    """Predicts when all workers together will have used up the time that trials have."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._is_limited = study.plan.search.settings.max_hours is not None
        self._next_look = 0.0

    def are_over(self) -> bool:
        now = time.monotonic()
        if not self._is_limited or now < self._next_look:
            return False
        left = self._study.trial_seconds_left
        assert left is not None
        seconds, num_busy = left
        self._next_look = now + min(HOURS_POLL_SECONDS, seconds / max(1, num_busy))
        return seconds <= 0


class _Memory:
    """The memory that the process holds between trials, besides the files that it has mapped."""

    def __init__(self) -> None:
        self._first: int | None = None

    def check(self) -> None:
        """Raise Replace if it grows from trial to trial."""
        if (growth := self.growth()) is not None:
            raise Replace(growth)

    def growth(self) -> str | None:
        """Return by how much it grew, as a message; None if that is no sign of a leak."""
        import psutil

        memory = psutil.Process().memory_info()
        # Features and tokenized rows are mapped: the system takes their pages back if needed.
        held = memory.rss - getattr(memory, "shared", 0)
        if self._first is None:
            self._first = held
        elif held > LEAK_FACTOR * self._first and held - self._first > LEAK_BYTES:
            grown = f"from {self._first / 2**30:.1f} to {held / 2**30:.1f} GB"
            return f"the worker's memory grew {grown}"
        return None


def _ended(study: Study, attempt: Attempt, outcome: Outcome) -> Ended:
    finished = outcome.ending is Ending.finished and outcome.best is not None
    best = outcome.best.metrics[study.plan.default.task.metric] if outcome.best else None
    return Ended(
        attempt.number,
        outcome.ending,
        outcome.reason,
        best if finished else None,
        outcome.seconds,
    )
