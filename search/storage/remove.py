"""Remove studies from their storage: all their rows in one transaction, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from search.storage.lease import ASKED, gone_workers
from search.storage.row import transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from search.storage.tables import StudyStorage


class InUse(Exception):
    """Somebody trains trials of the study.

    Attributes:
        workers: The names of the workers.
        num_asked: The number of trials that a loop of the caller's own has asked for.

    """

    def __init__(self, workers: Sequence[str], num_asked: int) -> None:
        super().__init__()
        self.workers = workers
        self.num_asked = num_asked


def remove_rows(
    storage: StudyStorage, study_ids: Sequence[int], files: Callable[[], None] = lambda: None
) -> None:
    """Remove studies that nobody works on.

    Args:
        storage: The storage.
        study_ids: The studies' IDs.
        files: Is called within the transaction, after all else worked; may be called again.

    Raises:
        InUse: A worker has a lease; nothing was removed.

    """
    from optuna.storages._rdb.models import BaseModel, TrialModel
    from sqlalchemy import delete, select

    from search.storage.tables import WORKERS

    trials: Any = TrialModel
    own = select(trials.trial_id).where(trials.study_id.in_(study_ids))

    def write() -> None:
        with transaction(storage) as session:
            _check_unused(session, study_ids)
            session.execute(delete(WORKERS).where(WORKERS.c.study_id.in_(study_ids)))
            for table in reversed(BaseModel.metadata.sorted_tables):  # each before what it names
                if "study_id" in table.c:
                    session.execute(delete(table).where(table.c.study_id.in_(study_ids)))
                elif "trial_id" in table.c:
                    session.execute(delete(table).where(table.c.trial_id.in_(own)))
            files()

    storage.retry(write)


def _check_unused(session: Session, study_ids: Sequence[int]) -> None:
    from search.storage.tables import WORKERS

    connection, hosts = session.connection(), dict[str, str]()
    for study_id in study_ids:
        gone = {name for name, _, _ in gone_workers(connection, study_id)}
        held = WORKERS.select().where(WORKERS.c.study_id == study_id, WORKERS.c.ended.is_(None))
        hosts |= {row.name: row.host for row in connection.execute(held) if row.name not in gone}
    if hosts:
        workers = [name for name, host in hosts.items() if host != ASKED]
        raise InUse(workers, len(hosts) - len(workers))
