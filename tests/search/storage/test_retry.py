from __future__ import annotations

from typing import Any

import optuna
import pytest
from sqlalchemy import event, text

from search.storage.engine import open_engine, open_storage


def test_reading_trials_is_retried_after_a_broken_connection(
    request: pytest.FixtureRequest,
) -> None:
    """Optuna retries in the broken transaction, and raises another error."""
    storage = open_storage(request.getfixturevalue("postgres").new_database())
    study = optuna.create_study(study_name="s", storage=storage)
    study.ask()
    number = study._study_id
    broken: list[int] = []

    def break_once(connection: Any, _: Any, statement: str, *more: Any) -> None:
        if "FROM trial_values" in statement and not broken:
            pid = connection.connection.dbapi_connection.info.backend_pid
            broken.append(pid)
            with open_engine(storage.url).begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    event.listen(storage.engine, "before_cursor_execute", break_once)
    assert len(storage.get_all_trials(number)) == 1
    assert len(broken) == 1
