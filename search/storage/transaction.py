"""Atomic changes of a trial, each one transaction on Optuna's tables.

Optuna's own calls change one value at a time; between two of them a worker can die, or another
process can read a partial state. These functions change a trial's state together with its worker,
its values and how its attempts ended. A worker's transactions are fenced (`search.storage.lease`),
so each also proves that the worker was alive. All are safe to repeat if the connection breaks
before the answer arrives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Ending
from search.space.key import canonical_key, renewed_key
from search.space.name import untagged
from search.storage.attribute import (
    ATTEMPT,
    ATTEMPTS,
    CHECKPOINT,
    CURVE,
    ENDING,
    FIXED,
    KEY,
    MICRO_BATCH,
    REASON,
    START,
    VALUES,
    WORKER,
    constraint,
)
from search.storage.curve import StoredPoint, extended
from search.storage.failure import FailedAttempt, FailureKind, reason_to_fail
from search.storage.lease import clock
from search.storage.row import (
    alone,
    locked,
    set_user,
    system_attribute,
    transaction,
    user_attribute,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage

ANYTHING = canonical_key({})
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


def add_trials(
    storage: StudyStorage,
    study_id: int,
    num_trials: int,
    templates: Iterable[FrozenTrial],
    *,
    again: bool = False,
) -> int:
    """Add trials until there are `num_trials`; return how many were added.

    A trial that starts with the values of an existing one is skipped, unless `again`; one without
    values is always added.
    """
    from optuna.storages._rdb.models import TrialModel

    def add() -> int:
        num_added = 0
        with alone(storage, study_id) as session:
            count = session.query(TrialModel).filter_by(study_id=study_id).count()
            known = _start_keys(session, study_id)
            for template in templates:
                start = template.system_attrs.get(START, ANYTHING)
                is_new = again or start == ANYTHING or start not in known
                if count + num_added < num_trials and is_new:
                    storage._get_prepared_new_trial(study_id, template, session)
                    session.flush()
                    num_added += 1
        return num_added

    return storage.retry(add)


def claim(storage: StudyStorage, trial_ids: Sequence[int], worker: str, num: int = 1) -> list[int]:
    """Turn up to `num` waiting trials into running ones of `worker`; return their IDs.

    Args:
        storage: The storage.
        trial_ids: Trials that were waiting a moment ago, in order of preference.
        worker: The worker's name.
        num: The maximum number to claim.

    """
    from optuna.trial import TrialState

    def take() -> list[int]:
        taken: list[int] = []
        with transaction(storage) as session:
            for trial_id in trial_ids:
                if len(taken) == num:
                    break
                trial: Any = locked(session, trial_id)
                if trial.state is TrialState.WAITING:
                    trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
                    set_user(storage, session, trial_id, {WORKER: worker})
                elif trial.state is not TrialState.RUNNING:
                    continue
                elif user_attribute(session, trial_id, WORKER) != worker:
                    continue  # otherwise an earlier try claimed it, and its answer was lost
                taken.append(trial_id)
        return taken

    return storage.retry(take) if trial_ids else []


def reserve(
    storage: StudyStorage,
    study_id: int,
    trial_id: int,
    key: str,
    params: Mapping[str, tuple[Any, BaseDistribution]],
    *,
    even_if_taken: bool = False,
) -> bool:
    """Store a running trial's values; False if another trial of the study has the same."""
    from optuna.distributions import distribution_to_json
    from optuna.storages._rdb.models import TrialModel, TrialParamModel
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    def settle() -> bool:
        with alone(storage, study_id) as session:
            trial: Any = locked(session, trial_id)
            storage.check_trial_is_updatable(trial_id, trial.state)
            others = (
                session.query(System.value_json)
                .join(TrialModel, TrialModel.trial_id == System.trial_id)
                .filter(TrialModel.study_id == study_id, System.trial_id != trial_id)
                .filter(System.key == KEY)
            )
            taken = (renewed_key(json.loads(str(other.value_json))) for other in others)
            if not even_if_taken and key in taken:
                return False
            fixed = {name: value for name, (value, _) in params.items()}
            for name, value in ((KEY, key), (FIXED, fixed)):
                storage._set_trial_attr_without_commit(session, System, trial_id, name, value)
            rows = session.query(TrialParamModel.param_name).filter_by(trial_id=trial_id)
            settled = {row.param_name for row in rows}
            for name, (value, distribution) in params.items():
                if name not in settled:
                    # Optuna's own call refuses choices that differ from those of earlier trials,
                    # and a range may change in a running study.
                    row = TrialParamModel(
                        trial_id=trial_id,
                        param_name=name,
                        param_value=distribution.to_internal_repr(value),
                        distribution_json=distribution_to_json(distribution),
                    )
                    session.add(row)
            return True

    return storage.retry(settle)


def set_attributes(storage: StudyStorage, trial_id: int, values: Mapping[str, Any]) -> None:
    """Set several user attributes of a trial in one transaction."""

    def write() -> None:
        with transaction(storage) as session:
            set_user(storage, session, trial_id, values)

    storage.retry(write)


def add_validation(
    storage: StudyStorage,
    trial_id: int,
    step: int,
    value: float,
    point: StoredPoint,
    values: Mapping[str, Any],
) -> None:
    """Store a validation of a trial, unless it has one at `step`.

    Args:
        storage: The storage.
        trial_id: The trial.
        step: Optuna's step, which here counts examples.
        value: Optuna's value: the objective.
        point: All that was measured.
        values: User attributes to set.

    """
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Value
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    def write() -> None:
        with transaction(storage) as session:
            locked(session, trial_id)
            if session.query(Value).filter_by(trial_id=trial_id, step=step).count():
                return
            curve = extended(system_attribute(session, trial_id, CURVE) or (), point)
            storage._set_trial_intermediate_value_without_commit(session, trial_id, step, value)
            storage._set_trial_attr_without_commit(session, System, trial_id, CURVE, curve)
            set_user(storage, session, trial_id, values)

    storage.retry(write)


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
            return _end_attempt(storage, session, trial_id, worker, kind, reason, max_attempts)

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
                _end_attempt(storage, session, trial_id, worker, kind, reason, max_attempts)
                for (trial_id,) in its_trials.all()
            ]
            return [end for end in ends if end is not None]

    return storage.retry(end)


def _end_attempt(
    storage: StudyStorage,
    session: Session,
    trial_id: int,
    worker: str | None,
    kind: FailureKind,
    reason: str,
    max_attempts: int,
) -> AttemptEnd | None:
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System
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
        name = constraint(ending)
        storage._set_trial_attr_without_commit(session, System, trial_id, name, 1.0)
    values = {
        ATTEMPTS: [end.as_dict() for end in ends],
        REASON: verdict or reason,
        ENDING: None if ending is None else ending.value,
    }
    set_user(storage, session, trial_id, values)
    trial.state = state
    if state.is_finished():
        trial.datetime_complete = datetime.now()
    return AttemptEnd(int(trial.number or 0), attempt, reason, ending, verdict or "")


def mark_started(storage: StudyStorage, study_id: int, first: Sequence[Mapping[str, Any]]) -> None:
    """Note which trials of a study of an earlier version are those that its plan tried first.

    That version did not store what a trial was queued with, if the sampler added the other values.

    Args:
        storage: The storage.
        study_id: The study.
        first: The values by config path that the plan tried first, in the order of the queue.

    """
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    def mark() -> None:
        with alone(storage, study_id) as session:
            if _attributes(session, study_id, System, START):
                return
            left = {
                trial_id: _by_path(values)
                for trial_id, values in _attributes(session, study_id, System, FIXED).items()
            }
            for start in first:
                hits = (t for t, values in left.items() if start.items() <= values.items())
                trial_id = next(hits, None)
                if trial_id is not None:
                    del left[trial_id]
                    text = json.dumps(canonical_key(start))
                    # Optuna's own call refuses a trial that has ended.
                    session.add(System(trial_id=trial_id, key=START, value_json=text))

    storage.retry(mark)


def _start_keys(session: Session, study_id: int) -> set[str]:
    """Return the keys of the values that trials of the study start with, or have."""
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System
    from optuna.storages._rdb.models import TrialUserAttributeModel as User

    fixed = _attributes(session, study_id, System, FIXED).values()
    outside = _attributes(session, study_id, User, VALUES).values()
    return {
        *_attributes(session, study_id, System, START).values(),
        *(canonical_key(_by_path(values)) for values in fixed),
        *(canonical_key(values) for values in outside),
    }


def _attributes(session: Session, study_id: int, model: Any, key: str) -> dict[int, Any]:
    """Return the values of an attribute by the ID of the trial, in the order of the trials."""
    from optuna.storages._rdb.models import TrialModel

    rows = (
        session.query(model.trial_id, model.value_json)
        .join(TrialModel, TrialModel.trial_id == model.trial_id)
        .filter(TrialModel.study_id == study_id, model.key == key)
        .order_by(TrialModel.number)
    )
    return {row.trial_id: json.loads(str(row.value_json)) for row in rows}


def _by_path(params: Mapping[str, Any]) -> dict[str, Any]:
    return {untagged(name)[0]: value for name, value in params.items()}
