"""Optuna's tables, opened so that no result is lost, and an additional table of workers.

SQLite: stock transactions start as readers and become writers late; two workers that stored results
at once lost 34 of 480 of them. Here every transaction starts as a writer and waits its turn, and a
stored result is on disk before its worker continues.

PostgreSQL: connections are tested before use, so that a restarted server is reconnected.

Both: operations that fail for a temporary reason are repeated (`search.storage.retry`), and every
transaction of a worker first checks that its lease still holds (`search.storage.lease`). Trials are
in Optuna's own tables, so that its stock tools can read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, Text

from search.storage.read import read_trials
from search.storage.retry import Retry

# Workers' leases; times are seconds since 1970 by the storage's clock.
TABLES = MetaData()
"""Our own tables, beside Optuna's; `search.storage.engine` creates those that are missing."""

WORKERS = Table(
    "finesweep_workers",
    TABLES,
    Column("name", String(255), primary_key=True),
    Column("study_id", Integer, nullable=False, index=True),
    Column("host", String(255), nullable=False),  # this boot of this machine or container
    Column("pid", Integer, nullable=False),
    Column("started", Float(53), nullable=False),
    Column("supervisor_pid", Integer, nullable=False),
    Column("supervisor_started", Float(53), nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("renewed", Float(53), nullable=False),
    Column("is_busy", Boolean, nullable=False),  # training an attempt
    Column("busy_seconds", Float(53), nullable=False),  # training time up to `renewed`
    Column("ended", Text, nullable=True),  # why the lease ended; null until then
)


def _retried(method: Callable[..., Any]) -> Any:
    """Wrap a method of RDBStorage so that it is repeated until the storage answers."""

    @wraps(method)
    def waiting(self: StudyStorage, *arguments: Any, **named: Any) -> Any:
        return self.retry(lambda: method(self, *arguments, **named))

    return waiting


class StudyStorage(RDBStorage):
    """Optuna's storage with retried calls."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any], retry: Retry) -> None:
        self.retry = retry
        retry(lambda: super(StudyStorage, self).__init__(url, engine_kwargs))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        tries = 0

        def store() -> bool:
            nonlocal tries
            tries += 1
            if tries > 1:  # an earlier try may have worked although its answer was lost
                trial: FrozenTrial = RDBStorage.get_trial(self, trial_id)
                if trial.state is state and (values is None or trial.values == list(values)):
                    return True
            return RDBStorage.set_trial_state_values(self, trial_id, state, values)

        return self.retry(store)

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
    get_all_trials = RDBStorage.get_all_trials  # calls the next one
    _get_trials = _retried(read_trials)
    _get_best_trial_id = _retried(RDBStorage._get_best_trial_id)
    get_trial_id_from_study_id_trial_number = _retried(
        RDBStorage.get_trial_id_from_study_id_trial_number
    )
    set_trial_intermediate_value = _retried(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = _retried(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _retried(RDBStorage.set_trial_system_attr)
    _set_trial_param = _retried(RDBStorage._set_trial_param)
