"""Atomic changes of a trial that a worker claims and trains, each one transaction.

Optuna's own calls change one value at a time; between two of them a worker can die, or another
process can read a partial state. These functions, and those of `search.storage.add` and
`search.storage.attempt_end`, change a trial's state together with its worker, its values and how
its attempts ended. A worker's transactions are fenced (`search.storage.lease`),
so each also proves that the worker was alive. All are safe to repeat if the connection breaks
before the answer arrives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from search.space.key import renewed_key
from search.storage.attribute import CURVE, FIXED, KEY, PLACE, WORKER
from search.storage.curve import StoredPoint, extended
from search.storage.place import active_trials, may_start, study_of
from search.storage.row import (
    add_value,
    alone,
    locked,
    set_system,
    set_user,
    system_attribute,
    transaction,
    user_attribute,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage

OLDER = ("%.0,%", "%.0}%")
"""What keys of an older version may have: whole numbers as floats, see `search.space.key`."""


def claim(
    storage: StudyStorage,
    trial_ids: Sequence[int],
    worker: str,
    num: int = 1,
    place: str | None = None,
) -> list[int]:
    """Turn up to `num` waiting trials into running ones of `worker`; return their IDs.

    While some trial must be alone in an area, they are claimed one at a time.

    Args:
        storage: The storage.
        trial_ids: Trials that were waiting a moment ago, in order of preference.
        worker: The worker's name.
        num: The maximum number to claim.
        place: The memory that they will use, see `search.storage.place`; None if it is unknown.

    """
    from optuna.trial import TrialState

    values = _claimed(worker, place)

    def take() -> list[int]:
        taken: list[int] = []
        with transaction(storage) as session:
            own = study_of(session, trial_ids[0])
            active = () if place is None else active_trials(session, own)
            for trial_id in trial_ids:
                if len(taken) == (1 if active else num):
                    break
                trial: Any = locked(session, trial_id)
                if trial.state is TrialState.WAITING:
                    if place is not None and not may_start(trial_id, place, active):
                        continue
                    trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
                    set_user(session, trial_id, values)
                elif trial.state is not TrialState.RUNNING:
                    continue
                elif user_attribute(session, trial_id, WORKER) != worker:
                    continue  # otherwise an earlier try claimed it, and its answer was lost
                taken.append(trial_id)
        return taken

    return storage.retry(take) if trial_ids else []


def add_claimed(
    storage: StudyStorage,
    study_id: int,
    num_trials: int,
    template: FrozenTrial,
    num: int,
    worker: str,
    place: str | None,
) -> list[int]:
    """Add up to `num` trials that `worker` has claimed; return their numbers.

    None are added while some trial must be alone in an area.

    Args:
        storage: The storage.
        study_id: The study.
        num_trials: It gets no more trials than this.
        template: What the trials start with.
        num: The maximum number to add.
        worker: The worker's name.
        place: The memory that they will use, see `search.storage.place`; None if it is unknown.

    """
    from optuna.storages._rdb.models import TrialModel
    from optuna.trial import TrialState

    values, added = _claimed(worker, place), list[tuple[int, int]]()  # IDs and numbers

    def add() -> list[int]:
        with alone(storage, study_id) as session:
            # An earlier try may have worked although its answer was lost.
            if any(user_attribute(session, each, WORKER) == worker for each, _ in added):
                return [number for _, number in added]
            added.clear()
            if place is not None and active_trials(session, study_id):
                return []
            count = session.query(TrialModel).filter_by(study_id=study_id).count()
            for _ in range(min(num, num_trials - count)):
                trial: Any = storage._get_prepared_new_trial(study_id, template, session)
                session.flush()
                trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
                set_user(session, trial.trial_id, values)
                added.append((trial.trial_id, trial.number))
        return [number for _, number in added]

    return storage.retry(add)


def _claimed(worker: str, place: str | None) -> dict[str, str]:
    return {WORKER: worker} if place is None else {WORKER: worker, PLACE: place}


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
    from sqlalchemy import or_

    def settle() -> bool:
        with alone(storage, study_id) as session:
            trial: Any = locked(session, trial_id)
            storage.check_trial_is_updatable(trial_id, trial.state)
            same = or_(System.value_json == json.dumps(key), *map(System.value_json.like, OLDER))
            others = (
                session.query(System.value_json)
                .join(TrialModel, TrialModel.trial_id == System.trial_id)
                .filter(TrialModel.study_id == study_id, System.trial_id != trial_id)
                .filter(System.key == KEY, same)
            )
            taken = (renewed_key(json.loads(str(other.value_json))) for other in others)
            if not even_if_taken and key in taken:
                return False
            fixed = {name: value for name, (value, _) in params.items()}
            set_system(session, trial_id, {KEY: key, FIXED: fixed})
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
            set_user(session, trial_id, values)

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

    def write() -> None:
        with transaction(storage) as session:
            locked(session, trial_id)
            if not add_value(session, trial_id, step, value):
                return
            curve = extended(system_attribute(session, trial_id, CURVE) or (), point)
            set_system(session, trial_id, {CURVE: curve})
            set_user(session, trial_id, values)

    storage.retry(write)
