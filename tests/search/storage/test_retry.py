from __future__ import annotations

from typing import Any

import optuna
import pytest
from sqlalchemy import event, text

from search.storage.engine import open_engine, open_storage


def test_a_connection_that_breaks_while_trials_are_read_is_waited_out(
    request: pytest.FixtureRequest,
) -> None:
    """Optuna meets the error, tries another way in the broken transaction, and fails otherwise."""
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
