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
    """Return a trial's row, which no other transaction changes meanwhile.

    A transaction asks for it once, however often it is needed.
    """
    from optuna.storages._rdb.models import TrialModel

    held: dict[int, TrialModel] = session.info.setdefault("locked", {})
    if trial_id not in held:
        asked = session.query(TrialModel).filter_by(trial_id=trial_id).with_for_update()
        held[trial_id] = asked.one()
    return held[trial_id]


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


def set_user(session: Session, trial_id: int, values: Mapping[str, Any]) -> None:
    """Set user attributes of a trial."""
    from optuna.storages._rdb.models import TrialUserAttributeModel as User

    _set_of_trial(session, User, trial_id, values)


def set_system(session: Session, trial_id: int, values: Mapping[str, Any]) -> None:
    """Set system attributes of a trial."""
    from optuna.storages._rdb.models import TrialSystemAttributeModel as System

    _set_of_trial(session, System, trial_id, values)


def set_of_study(session: Session, study_id: int, values: Mapping[str, Any]) -> None:
    """Set system attributes of a study."""
    from optuna.storages._rdb.models import StudySystemAttributeModel as System

    _upsert(session, System, {"study_id": study_id}, values)


def _set_of_trial(session: Session, model: Any, trial_id: int, values: Mapping[str, Any]) -> None:
    """Set attributes of a trial; raise UpdateFinishedTrialError if it has ended."""
    from optuna.exceptions import UpdateFinishedTrialError

    trial: Any = locked(session, trial_id)
    if trial.state.is_finished():
        # Optuna's own check would read the trial through a second connection, which waits for
        # this transaction to end.
        raise UpdateFinishedTrialError(f"trial {trial.number} has ended")
    _upsert(session, model, {"trial_id": trial_id}, values)


def _upsert(
    session: Session, model: Any, owner: Mapping[str, int], values: Mapping[str, Any]
) -> None:
    """Set attributes with one statement; Optuna's own call takes two for each of them."""
    from sqlalchemy.dialects import postgresql, sqlite

    if not values:
        return
    is_local = session.get_bind().dialect.name == "sqlite"
    insert: Any = (sqlite if is_local else postgresql).insert(model.__table__)
    changes = {"value_json": insert.excluded.value_json}
    statement = insert.on_conflict_do_update(index_elements=[*owner, "key"], set_=changes)
    rows = [
        {**owner, "key": name, "value_json": json.dumps(value)} for name, value in values.items()
    ]
    session.execute(statement, rows)


def add_value(session: Session, trial_id: int, step: int, value: float) -> bool:
    """Add an intermediate value of a `locked` trial; False if it has one at `step`."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Value
    from sqlalchemy import insert, select

    same = select(Value.step).where(Value.trial_id == trial_id, Value.step == step)
    if session.execute(same).first() is not None:
        return False
    stored, kind = Value.intermediate_value_to_stored_repr(value)
    row: dict[str, Any] = {"trial_id": trial_id, "step": step, "intermediate_value": stored}
    row["intermediate_value_type"] = kind
    table: Any = Value.__table__
    session.execute(insert(table).values(row))
    return True


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
