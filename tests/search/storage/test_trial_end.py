from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.storage.engine import open_storage
from search.storage.tables import StudyStorage
from search.storage.trial_end import end_trial


def running(study: optuna.Study, points: Sequence[float]) -> FrozenTrial:
    trial = study.ask()
    for step, value in enumerate(points):
        trial.report(value, step)
    return study._storage.get_trial(trial._trial_id)


@pytest.fixture
def storage(here: Path) -> StudyStorage:
    return open_storage(here / "study.db")


@pytest.mark.parametrize(
    "points", [[], [0.5, 0.7], [0.7, math.inf], [-math.inf], [0.5, math.nan], [math.nan, 0.5]]
)
def test_a_pruned_trial_gets_the_value_that_optuna_gives_it(
    points: Sequence[float], storage: StudyStorage
) -> None:
    study = optuna.create_study(storage=storage)
    theirs, ours = running(study, points), running(study, points)
    study.tell(theirs.number, state=TrialState.PRUNED)
    end_trial(storage, ours._trial_id, TrialState.PRUNED, None, {}, {}, {})
    expected, found = study.get_trials()
    assert found.values == expected.values
    assert found.state is expected.state and found.datetime_complete is not None


def test_a_repeated_call_changes_nothing(storage: StudyStorage) -> None:
    study = optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    trial = running(study, [])

    def end(state: TrialState, values: list[float], number: int) -> None:
        attributes = ({name: number} for name in ("user", "system", "of study"))
        end_trial(storage, trial._trial_id, state, values, *attributes)

    end(TrialState.COMPLETE, [0.1, 0.2], 1)
    (first,) = study.get_trials()
    end(TrialState.PRUNED, [0.3], 2)
    (again,) = study.get_trials()
    assert again == first
    assert (first.values, first.user_attrs, first.system_attrs) == (
        [0.1, 0.2],
        {"user": 1},
        {"system": 1},
    )
    assert storage.get_study_system_attrs(study._study_id)["of study"] == 1
