"""End an attempt that failed, and settle what happens to its trial, in one transaction.

The trial waits for its next attempt, or ends (`search.storage.failure`). It is safe to repeat if
the connection breaks before the answer arrives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Ending
from search.storage.attribute import (
    ALONE,
    ATTEMPT,
    ATTEMPTS,
    CHECKPOINT,
    ENDING,
    MICRO_BATCH,
    PACKED,
    PLACE,
    REASON,
    WORKER,
    constraint,
)
from search.storage.failure import FailedAttempt, FailureKind, reason_to_fail
from search.storage.lease import clock
from search.storage.place import host_of, ran_beside
from search.storage.row import locked, set_system, set_user, transaction, user_attribute

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage

MEMORY_REASON = "one example at a time does not fit into memory"


@dataclass(frozen=True)
class AttemptEnd:
    """What happens to a trial whose attempt failed.

    Attributes:
        number: The trial's number.
        attempt: 1 for the first.
        reason: Why the attempt ended, as a message.
        ending: How its trial ended; None while the trial waits for its next attempt.
        verdict: Why the trial ended, as a message.

    """

    number: int
    attempt: int
    reason: str
    ending: Ending | None = None
    verdict: str = ""


def hand_back(
    storage: StudyStorage,
    trial_id: int,
    worker: str | None,
    kind: FailureKind,
    reason: str,
    max_attempts: int,
) -> AttemptEnd | None:
    """End the running attempt of `worker` (None: of no worker); None if it is no longer its own."""

    def end() -> AttemptEnd | None:
        with transaction(storage) as session:
            return _end_attempt(session, trial_id, worker, kind, reason, max_attempts)

    return storage.retry(end)


def end_worker(
    storage: StudyStorage,
    worker: str,
    kind: FailureKind,
    reason: str,
    max_attempts: int,
    renewed: float | None = None,
) -> Sequence[AttemptEnd]:
    """End a worker's lease and its attempts; return the ends, none if another process did it.

    Args:
        storage: The storage.
        worker: The worker's name.
        kind: Why it ended.
        reason: The same as a message.
        max_attempts: `search.max_attempts`.
        renewed: End it only if this is still the time of the last renewal.

    """
    from optuna.storages._rdb.models import TrialModel
    from optuna.storages._rdb.models import TrialUserAttributeModel as User
    from optuna.trial import TrialState

    from search.storage.tables import WORKERS

    def end() -> Sequence[AttemptEnd]:
        with transaction(storage) as session:
            connection = session.connection()
            its = WORKERS.c.name == worker
            # Waits for the worker's own transactions, which hold the row FOR KEY SHARE.
            row = connection.execute(WORKERS.select().where(its).with_for_update()).one_or_none()
            if row is None:
                return ()
            conditions = [its, WORKERS.c.ended.is_(None)]
            if renewed is not None:
                conditions.append(WORKERS.c.renewed == renewed)
            trained = min(max(0.0, clock(connection) - row.renewed), row.lease_seconds)
            busy = float(row.busy_seconds) + (trained if row.is_busy else 0.0)
            update = WORKERS.update().where(*conditions)
            update = update.values(ended=reason, is_busy=False, busy_seconds=busy)
            if connection.execute(update).rowcount != 1:
                return ()
            its_trials = (
                session.query(TrialModel.trial_id)
                .join(User, User.trial_id == TrialModel.trial_id)
                .filter(TrialModel.study_id == row.study_id)
                .filter(TrialModel.state == TrialState.RUNNING)
                .filter(User.key == WORKER, User.value_json == json.dumps(worker))
                .order_by(TrialModel.trial_id)
            )
            ends = [
                _end_attempt(session, trial_id, worker, kind, reason, max_attempts)
                for (trial_id,) in its_trials.all()
            ]
            return [end for end in ends if end is not None]

    return storage.retry(end)


def _end_attempt(
    session: Session,
    trial_id: int,
    worker: str | None,
    kind: FailureKind,
    reason: str,
    max_attempts: int,
) -> AttemptEnd | None:
    from optuna.trial import TrialState

    trial: Any = locked(session, trial_id)
    if trial.state is not TrialState.RUNNING:
        return None
    if user_attribute(session, trial_id, WORKER) != worker:
        return None
    ends = [
        FailedAttempt.from_dict(end) for end in user_attribute(session, trial_id, ATTEMPTS) or ()
    ]
    attempt = int(user_attribute(session, trial_id, ATTEMPT) or 0)
    if attempt <= len(ends):
        attempt = 0  # killed before its attempt started: nothing to count
    kind, area = _tried(session, trial, kind)
    checkpoint = user_attribute(session, trial_id, CHECKPOINT) or {}
    end = FailedAttempt(attempt, kind, reason, int(checkpoint.get("step", 0)), worker or "")
    micro_batch = user_attribute(session, trial_id, MICRO_BATCH)
    verdict = None
    if attempt:
        ends.append(end)
        verdict = reason_to_fail(ends, max_attempts)
    state, ending = TrialState.WAITING, None
    if verdict is not None:
        state, ending = TrialState.FAIL, Ending.failed
    elif kind is FailureKind.out_of_memory and micro_batch == 1:
        state, ending, verdict = TrialState.PRUNED, Ending.infeasible, MEMORY_REASON
        set_system(session, trial_id, {constraint(ending): 1.0})
    values = {
        ATTEMPTS: [end.as_dict() for end in ends],
        REASON: verdict or reason,
        ENDING: None if ending is None else ending.value,
        **({} if area is None else {ALONE: area}),
        **({PACKED: False} if user_attribute(session, trial_id, PACKED) else {}),
    }
    set_user(session, trial_id, values)
    trial.state = state
    if state.is_finished():
        trial.datetime_complete = datetime.now()
    return AttemptEnd(int(trial.number or 0), attempt, reason, ending, verdict or "")


def _tried(session: Session, trial: Any, kind: FailureKind) -> tuple[FailureKind, str | None]:
    """Return the kind of an end, by whether it had neighbours, and the area that it needs alone.

    The kernel kills a process for the memory of the host. Only on a CPU does a smaller micro-batch
    take less of that.
    """
    is_fault = kind in (FailureKind.crashed, FailureKind.hung)
    if is_fault and user_attribute(session, trial.trial_id, PACKED):
        return FailureKind.packed, None
    place = user_attribute(session, trial.trial_id, PLACE)
    if place is None:
        return kind, None
    if kind is FailureKind.crowded:
        return kind, place
    if kind is not FailureKind.out_of_memory:
        return kind, None
    host = host_of(place)
    if ran_beside(session, trial, host):
        return FailureKind.crowded, host
    return (kind if place == host else FailureKind.crashed), None
