from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from faults.postgres import Postgres
from optuna.trial import TrialState

from search.storage.engine import open_storage
from search.storage.row import add_value, set_of_study, set_system, set_user, transaction
from search.storage.tables import StudyStorage

VALUES = {"a": 1, "b": [None, 0.5, "x"], "Größe": {"c": True}}


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, here: Path) -> StudyStorage:
    if request.param == "sqlite":
        return open_storage(here / "study.db")
    server: Postgres = request.getfixturevalue("postgres")
    return open_storage(server.new_database())


def test_optuna_reads_the_attributes_and_later_ones_replace_them(storage: StudyStorage) -> None:
    study = optuna.create_study(storage=storage)
    ask = study.ask()
    ask.set_user_attr("theirs", 2)
    for values in (VALUES, {"a": 3}, {}):
        with transaction(storage) as session:
            set_user(session, ask._trial_id, values)
            set_system(session, ask._trial_id, values)
            set_of_study(session, study._study_id, values)
    (trial,) = study.get_trials()
    assert trial.user_attrs == {**VALUES, "a": 3, "theirs": 2}
    assert trial.system_attrs == {**VALUES, "a": 3}
    assert storage.get_study_system_attrs(study._study_id).items() >= {"a": 3}.items()


def test_an_ended_trial_keeps_its_attributes(storage: StudyStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, state=TrialState.FAIL)
    for change in (set_user, set_system):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError), transaction(storage) as own:
            change(own, trial._trial_id, VALUES)
    assert study.get_trials()[0].user_attrs == {}


def test_a_step_keeps_its_first_value(storage: StudyStorage) -> None:
    study = optuna.create_study(storage=storage)
    ask = study.ask()
    for step, value, is_new in ((1, 0.5, True), (1, 0.7, False), (2, math.nan, True)):
        with transaction(storage) as session:
            assert add_value(session, ask._trial_id, step, value) is is_new
    stored = study.get_trials()[0].intermediate_values
    assert stored[1] == 0.5 and math.isnan(stored[2]) and len(stored) == 2
