"""Which process scores the runs of a certificate: one at a time, from whatever host.

A scorer has the lease of a worker (`search.storage.lease`), so one that is gone makes way for the
next.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from search.storage.attribute import SCORER
from search.storage.lease import gone_workers, present_workers
from search.storage.row import alone

if TYPE_CHECKING:
    from search.storage.tables import StudyStorage


def become_scorer(storage: StudyStorage, study_id: int, worker: str) -> str | None:
    """Make a worker the scorer of a study, unless another one is; return the name of that one.

    Args:
        storage: The storage.
        study_id: The study.
        worker: The worker's name.

    """
    from optuna.storages._rdb.models import StudySystemAttributeModel as System

    def take() -> str | None:
        with alone(storage, study_id) as session:
            row = session.query(System).filter_by(study_id=study_id, key=SCORER).one_or_none()
            connection = session.connection()
            gone = {name for name, _, _ in gone_workers(connection, study_id)}
            scorer = None if row is None else str(json.loads(str(row.value_json)))
            is_here = scorer in present_workers(connection, study_id) - gone
            if is_here and scorer != worker:
                return scorer
            if row is None:
                session.add(System(study_id=study_id, key=SCORER, value_json=json.dumps(worker)))
            else:
                row.value_json = json.dumps(worker)
            return None

    return storage.retry(take)
