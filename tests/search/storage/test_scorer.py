from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.storage.attempt_end import end_worker
from search.storage.engine import open_storage
from search.storage.failure import FailureKind
from search.storage.lease import Lease
from search.storage.scorer import become_scorer
from search.storage.tables import StudyStorage


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, here: Path) -> StudyStorage:
    if request.param == "sqlite":
        return open_storage(here / "study.db")
    return open_storage(request.getfixturevalue("postgres").new_database())


def test_one_worker_scores_until_its_lease_ends(storage: StudyStorage) -> None:
    study_id = optuna.create_study(study_name="s", storage=storage)._study_id
    first, second, third = (Lease(storage.url, study_id, 3600).join() for _ in range(3))
    assert become_scorer(storage, study_id, first.name) is None
    assert become_scorer(storage, study_id, second.name) == first.name
    assert become_scorer(storage, study_id, first.name) is None  # e.g. its answer was lost
    first.leave()
    assert become_scorer(storage, study_id, second.name) is None
    assert become_scorer(storage, study_id, third.name) == second.name
    end_worker(storage, second.name, FailureKind.lost, "no heartbeat", max_attempts=3)
    assert become_scorer(storage, study_id, third.name) is None
    third.leave()
