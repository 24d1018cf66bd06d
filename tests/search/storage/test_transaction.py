"""What has to be whole or not at all: a trial that several workers are after."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.storages import RDBStorage

from search.config import compose
from search.plan.plan import build_plan
from search.storage import transaction
from search.storage.attribute import ATTEMPT, ATTEMPTS, CHECKPOINT
from search.storage.failure import Fault
from search.storage.location import study_folder
from search.storage.tables import StudyStorage
from search.study.open import open_study
from search.study.prepare import check_study, prepare_study
from search.study.study import Study


def two_workers(here: Path) -> tuple[Study, Study]:
    plan = build_plan(compose("sweep", ["study=s", "model=tiny", "search.num_trials=1"]))
    folder = study_folder(here, plan.name)
    studies = prepare_study(plan, folder, check_study(plan, folder)), open_study(plan, folder)
    for study in studies:
        study.join()
    return studies


def test_a_claimed_trial_begins_from_what_it_is_now(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_workers(here)
    claim = transaction.claim

    def after_the_other(tables: StudyStorage, trial_id: int, worker: str) -> bool:
        """Let the other worker have it between the look at the queue and the claim."""
        monkeypatch.setattr(transaction, "claim", claim)
        attempt = other.next_attempt()
        assert attempt is not None
        (attempt.folder / "checkpoint.pt").write_bytes(b"of the first attempt")
        other.saved(attempt, step=7)
        other.hand_back(attempt, Fault.interrupted, "asked to stop", 1.0)
        return claim(tables, trial_id, worker)

    monkeypatch.setattr(transaction, "claim", after_the_other)
    attempt = one.next_attempt()
    assert attempt is not None and attempt.attempt == 2
    assert (attempt.folder / "checkpoint.pt").read_bytes() == b"of the first attempt"
    attributes = one.trial(0).user_attrs
    assert attributes[ATTEMPT] == 2 and attributes[CHECKPOINT]["step"] == 7
    assert len(attributes[ATTEMPTS]) == 1
    assert "goes on from its last checkpoint, step 7" in attempt.notes[0]


# Not asked of a storage by a study, or by a worker alone: (1) made of others, (2) never called.
IMPATIENT = {
    *("create_new_trial", "delete_study", "get_best_trial", "get_n_trials", "get_trial_param"),
    *("get_trial_params", "get_trial_user_attrs", "get_trial_system_attrs", "set_trial_param"),
    *("get_trial_number_from_id", "check_trial_is_updatable", "remove_session", "upgrade"),
    *("get_current_version", "get_head_version", "get_all_versions", "record_heartbeat"),
    *("get_heartbeat_interval", "get_heartbeat_stale_trial_callback"),
    "get_failed_trial_callback",
}


def test_every_call_on_the_storage_is_patient_or_known_not_to_be() -> None:
    public = {name for name in dir(RDBStorage) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(RDBStorage, name))}
    assert methods - vars(StudyStorage).keys() - IMPATIENT == set()
