"""Optuna's tables, opened so that no result is lost, and beside them one of the workers.

SQLite: stock transactions begin as readers and become writers late, and two workers that told
results at once lost 34 of 480 of them. Every transaction here begins as a writer and waits its
turn; a told result is on the disk before its worker goes on.

PostgreSQL: connections are tested before use, so that a restarted server is met again.

Both: what fails for a reason that passes is done again (`search.storage.retry`), and every
transaction of a worker first looks whether its lease still holds (`search.storage.lease`). The
trials are in Optuna's own tables, so its stock tools read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, Text

from search.storage.retry import Retry

# A worker's lease; the times are seconds since 1970 by the storage's clock.
WORKERS = Table(
    "finesweep_workers",
    MetaData(),
    Column("name", String(255), primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("host", String(255), nullable=False),  # this boot of this machine or container
    Column("pid", Integer, nullable=False),
    Column("started", Float(53), nullable=False),
    Column("supervisor_pid", Integer, nullable=False),
    Column("supervisor_started", Float(53), nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("renewed", Float(53), nullable=False),
    Column("is_busy", Boolean, nullable=False),  # in an attempt
    Column("busy_seconds", Float(53), nullable=False),  # in attempts, up to `renewed`
    Column("ended", Text, nullable=True),  # why it is no worker any more; null while it is one
)


def _retried(method: Callable[..., Any]) -> Any:
    """Return a method of RDBStorage that is repeated until the storage answers."""

    @wraps(method)
    def waiting(self: StudyStorage, *arguments: Any, **named: Any) -> Any:
        return self.retry(lambda: method(self, *arguments, **named))

    return waiting


class StudyStorage(RDBStorage):
    """Optuna's storage, whose calls are retried."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any], retry: Retry) -> None:
        self.retry = retry
        retry(lambda: super(StudyStorage, self).__init__(url, engine_kwargs))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        tries = 0

        def tell() -> bool:
            nonlocal tries
            tries += 1
            if tries > 1:  # the connection may have broken after the result had arrived
                trial: FrozenTrial = RDBStorage.get_trial(self, trial_id)
                if trial.state is state and (values is None or trial.values == list(values)):
                    return True
            return RDBStorage.set_trial_state_values(self, trial_id, state, values)

        return self.retry(tell)

    create_new_study = _retried(RDBStorage.create_new_study)
    get_study_id_from_name = _retried(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _retried(RDBStorage.get_study_name_from_id)
    get_study_directions = _retried(RDBStorage.get_study_directions)
    get_study_user_attrs = _retried(RDBStorage.get_study_user_attrs)
    get_study_system_attrs = _retried(RDBStorage.get_study_system_attrs)
    set_study_user_attr = _retried(RDBStorage.set_study_user_attr)
    set_study_system_attr = _retried(RDBStorage.set_study_system_attr)
    get_all_studies = _retried(RDBStorage.get_all_studies)
    get_trial = _retried(RDBStorage.get_trial)
    get_all_trials = _retried(RDBStorage.get_all_trials)
    _get_trials = _retried(RDBStorage._get_trials)
    _get_best_trial_id = _retried(RDBStorage._get_best_trial_id)
    get_trial_id_from_study_id_trial_number = _retried(
        RDBStorage.get_trial_id_from_study_id_trial_number
    )
    set_trial_intermediate_value = _retried(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = _retried(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _retried(RDBStorage.set_trial_system_attr)
    _set_trial_param = _retried(RDBStorage._set_trial_param)
