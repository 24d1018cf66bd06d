"""Which process scores the runs of a certificate: one at a time, on any host.

A scorer has the lease of a worker (`search.storage.lease`), and is followed by another one when the
lease has ended: because it left, or because another process found it gone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from search.storage.attribute import SCORER
from search.storage.lease import present_workers
from search.storage.row import alone, set_of_study

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
            its = session.query(System.value_json).filter_by(study_id=study_id, key=SCORER)
            row = its.one_or_none()
            scorer = None if row is None else str(json.loads(str(row.value_json)))
            if scorer != worker and scorer in present_workers(session.connection(), study_id):
                return scorer
            set_of_study(session, study_id, {SCORER: worker})
            return None

    return storage.retry(take)
