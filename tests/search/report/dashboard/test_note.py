from __future__ import annotations

import optuna
import pytest
from optuna_dashboard import get_note
from optuna_dashboard._note import save_note_with_version

from search.report.dashboard.note import MAX_PART, read_note, write_note


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study()
    study.ask()
    study.ask()
    return study


# Empty, short, exactly one part, slightly more; then shorter than before.
TEXTS = ["a", "x" * MAX_PART, "y" * (3 * MAX_PART + 1), "é" * (MAX_PART + 1), "b", ""]


@pytest.mark.parametrize("trial_id", [None, 0, 1])
def test_the_dashboard_reads_what_we_write(study: optuna.Study, trial_id: int | None) -> None:
    of = study if trial_id is None else optuna.trial.Trial(study, trial_id)
    assert read_note(study, trial_id) == ""
    for text in TEXTS:
        write_note(study, trial_id, text)
        assert get_note(of) == read_note(study, trial_id) == text
    others = {None, 0, 1} - {trial_id}
    assert [read_note(study, other) for other in others] == ["", ""]


@pytest.mark.parametrize("trial_id", [None, 1])
def test_we_read_what_the_dashboard_writes(study: optuna.Study, trial_id: int | None) -> None:
    for version, text in enumerate(TEXTS, start=1):
        save_note_with_version(study._storage, study._study_id, trial_id, version, text)
        assert read_note(study, trial_id) == text


def test_the_dashboard_sees_each_change(study: optuna.Study) -> None:
    versions = []
    for text in ("a", "b", "b"):
        write_note(study, None, text)
        attributes = study._storage.get_study_system_attrs(study._study_id)
        versions.append(attributes["dashboard:note_ver"])
    assert versions == [1, 2, 3]
