"""Rows of Optuna's tables, read and written inside one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages._rdb.models import TrialModel
    from optuna.trial import TrialState
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage


@contextmanager
def transaction(storage: StudyStorage) -> Iterator[Session]:
    """Start a transaction; it is committed at the end, or rolled back after an error."""
    from sqlalchemy.orm import Session

    with Session(storage.engine) as session, session.begin():
        yield session


@contextmanager
def alone(storage: StudyStorage, study_id: int) -> Iterator[Session]:
    """Start a transaction that excludes all others of this kind on the study."""
    from optuna.storages._rdb.models import StudyModel

    with transaction(storage) as session:
        # SQLite's transactions are exclusive anyway.
        session.query(StudyModel).filter_by(study_id=study_id).with_for_update().one()
        yield session


def locked(session: Session, trial_id: int) -> TrialModel:
    """Return a trial's row, which no other transaction changes meanwhile."""
    from optuna.storages._rdb.models import TrialModel

    return session.query(TrialModel).filter_by(trial_id=trial_id).with_for_update().one()


def user_attribute(session: Session, trial_id: int, key: str) -> Any:
    """Return a user attribute of a trial; None if it has none."""
    from optuna.storages._rdb.models import TrialUserAttributeModel as User

    row = session.query(User.value_json).filter_by(trial_id=trial_id, key=key).one_or_none()
    return None if row is None else json.loads(str(row.value_json))


def system_attribute(session: Session, trial_id: int, key: str) -> Any:
    """Return a system attribute of a trial; None if it has none."""
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    row = session.query(System.value_json).filter_by(trial_id=trial_id, key=key).one_or_none()
    return None if row is None else json.loads(str(row.value_json))


def set_user(
    storage: StudyStorage, session: Session, trial_id: int, values: Mapping[str, Any]
) -> None:
    """Set user attributes of a trial."""
    from optuna.storages._rdb.models import TrialUserAttributeModel as User

    for name, value in values.items():
        storage._set_trial_attr_without_commit(session, User, trial_id, name, value)


def set_system(
    storage: StudyStorage, session: Session, trial_id: int, values: Mapping[str, Any]
) -> None:
    """Set system attributes of a trial."""
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    for name, value in values.items():
        storage._set_trial_attr_without_commit(session, System, trial_id, name, value)


def finish(
    storage: StudyStorage,
    session: Session,
    trial_id: int,
    state: TrialState,
    values: Sequence[float],
) -> None:
    """Give a trial its values, one for each objective, and its final state."""
    trial: Any = locked(session, trial_id)
    for objective, value in enumerate(values):
        storage._set_trial_value_without_commit(session, trial, objective, value)
    trial.state, trial.datetime_complete = state, datetime.now()
