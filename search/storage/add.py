"""Add trials to a study, within its budget and none twice: one transaction, safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.space.key import canonical_key
from search.space.name import untagged
from search.storage.attribute import FIXED, START, VALUES
from search.storage.row import alone

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage

ANYTHING = canonical_key({})


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
            known: set[str] | None = None
            for template in templates:
                start = template.system_attrs.get(START, ANYTHING)
                is_new = again or start == ANYTHING
                if not is_new:
                    known = _start_keys(session, study_id) if known is None else known
                    is_new = start not in known
                if count + num_added < num_trials and is_new:
                    storage._get_prepared_new_trial(study_id, template, session)
                    session.flush()
                    num_added += 1
        return num_added

    return storage.retry(add)


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
