"""Changes of a trial that a loop of the caller's own trains, each one transaction.

Such a trial has a lease of its own, because it outlives the process that asked for it: the lease
ends a fixed time after its last renewal, with or without a process (`search.storage.lease`). Each
transaction first reads that lease, so a loop that is late can change nothing. All are safe to
repeat if the connection breaks before the answer arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.storage.attribute import CURVE, SECONDS
from search.storage.curve import StoredPoint, extended, points_of
from search.storage.lease import LeaseLost, clock
from search.storage.row import (
    finish,
    locked,
    set_system,
    set_user,
    system_attribute,
    transaction,
)

if TYPE_CHECKING:
    from optuna.trial import TrialState
    from sqlalchemy import Row
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage

TOLD = "its result was told"
"""Why the lease of a trial ended that has a result."""


@dataclass(frozen=True)
class News:
    """What a loop tells of a trial.

    Attributes:
        curve: What it measured on the way, in order of its steps.
        objective: The name of Optuna's value among the metrics of a point.
        values: User attributes to set.
        system: System attributes to set.

    """

    curve: Sequence[StoredPoint]
    objective: str
    values: Mapping[str, Any]
    system: Mapping[str, Any] = field(default_factory=dict)


def report(storage: StudyStorage, trial_id: int, worker: str, news: News) -> float:
    """Store news of a trial and renew its lease; return the seconds since it was asked for.

    Raises:
        LeaseLost: The lease has ended.

    """

    def write() -> float:
        with transaction(storage) as session:
            lease = _lease(session, worker)
            _write(storage, session, trial_id, news)
            return _renew(session, lease, ended=None)

    return storage.retry(write)


def end(
    storage: StudyStorage,
    trial_id: int,
    worker: str,
    news: News,
    state: TrialState,
    objectives: Sequence[float] = (),
    seconds: float | None = None,
) -> None:
    """End a trial and its lease.

    Args:
        storage: The storage.
        trial_id: The trial.
        worker: The name of its lease.
        news: What to store with it.
        state: How it ended.
        objectives: Its results.
        seconds: How long it trained; None counts from when it was asked for.

    Raises:
        LeaseLost: The lease has ended.

    """
    num_tries = 0

    def write() -> None:
        nonlocal num_tries
        num_tries += 1
        with transaction(storage) as session:
            lease = _lease(session, worker, ended=TOLD if num_tries > 1 else None)
            if lease.ended is not None:
                return  # an earlier try worked, but its answer was lost
            _write(storage, session, trial_id, news)
            spent = _renew(session, lease, TOLD, seconds)
            set_user(session, trial_id, {SECONDS: round(spent, 3)})
            finish(storage, session, trial_id, state, objectives)

    storage.retry(write)


def close(storage: StudyStorage, worker: str, reason: str) -> None:
    """End the lease of a trial that was handed back, if it has not ended."""

    def write() -> None:
        with transaction(storage) as session:
            try:
                lease = _lease(session, worker)
            except LeaseLost:
                return
            _renew(session, lease, reason)

    storage.retry(write)


def _lease(session: Session, worker: str, ended: str | None = None) -> Row[Any]:
    """Return the lease, locked; raise LeaseLost if it has ended for another reason than `ended`."""
    from search.storage.tables import WORKERS

    its = WORKERS.select().where(WORKERS.c.name == worker).with_for_update()
    row = session.connection().execute(its).one_or_none()
    if row is None or row.ended not in (None, ended):
        raise LeaseLost(row.ended if row else "the study was removed")
    return row


def _renew(
    session: Session, lease: Row[Any], ended: str | None, seconds: float | None = None
) -> float:
    """Renew or end the lease; return the seconds since the trial was asked for, unless given."""
    from search.storage.tables import WORKERS

    connection = session.connection()
    now = clock(connection)
    if seconds is None:
        seconds = max(0.0, now - lease.started)
    update = WORKERS.update().where(WORKERS.c.name == lease.name)
    connection.execute(update.values(renewed=now, busy_seconds=seconds, ended=ended))
    return seconds


def _write(storage: StudyStorage, session: Session, trial_id: int, news: News) -> None:
    locked(session, trial_id)
    for point in news.curve:
        _add(storage, session, trial_id, point, news.objective)
    set_user(session, trial_id, news.values)
    set_system(session, trial_id, news.system)


def _add(
    storage: StudyStorage, session: Session, trial_id: int, point: StoredPoint, objective: str
) -> None:
    """Store a point in place of those from its step on: they are of an earlier attempt."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Value

    later = session.query(Value).filter(Value.trial_id == trial_id, Value.step > point.step)
    later.delete()
    before = points_of(system_attribute(session, trial_id, CURVE) or ())
    curve = extended([each for each in before if each.step < point.step], point)
    set_system(session, trial_id, {CURVE: curve})
    if objective in point.metrics:
        value = point.metrics[objective]
        storage._set_trial_intermediate_value_without_commit(session, trial_id, point.step, value)
