"""Our way of reading trials gives what Optuna's gives."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from search.storage.engine import open_storage
from search.storage.read import read_trials, study_attributes
from search.storage.tables import StudyStorage


@pytest.fixture
def storage(tmp_path: Path) -> StudyStorage:
    """Return a storage of two studies, of which one has trials in every state."""
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    optuna.create_study(storage=storage, study_name="other").ask()
    study = optuna.create_study(storage=storage, study_name="s", directions=["minimize"] * 2)
    one = study.ask()
    one.suggest_float("lr", 1e-5, 1e-1, log=True)
    one.suggest_categorical("how", ["a", "b", None, 3])
    one.suggest_int("epochs", 1, 9, step=2)
    one.set_user_attr("seconds", 1.5)
    one.set_user_attr("metrics", {"accuracy": math.nan, "names": ["é", None]})
    storage.set_trial_system_attr(one._trial_id, "fixed_params", {"lr": 1e-3})
    study.tell(one, [math.inf, -1.0])
    for state in (TrialState.PRUNED, TrialState.FAIL):
        study.tell(study.ask(), state=state)
    running = study.ask()
    for step, value in enumerate([0.5, math.nan, math.inf, -math.inf, 1e-300]):
        storage.set_trial_intermediate_value(running._trial_id, 3 - step, value)
    study.enqueue_trial({"lr": 0.01})
    study.add_trial(optuna.create_trial(state=TrialState.WAITING))
    return storage


def _text(trial: FrozenTrial) -> str:
    """Return a trial as text, its attributes sorted: NaN is not equal to itself."""
    fields = vars(trial).items()
    return repr([(k, sorted(v.items()) if isinstance(v, dict) else v) for k, v in fields])


def _study_id(storage: StudyStorage) -> int:
    return storage.get_study_id_from_name("s")


@pytest.mark.parametrize(
    ("states", "included", "after"),
    [
        (None, set(), -1),
        ((TrialState.COMPLETE, TrialState.RUNNING), set(), -1),
        (None, set(), 4),
        (None, {2, 3, 6}, 4),
        ((TrialState.WAITING,), {2, 3}, 4),
        (None, set(), 100),
    ],
)
def test_it_reads_what_optuna_reads(
    storage: StudyStorage,
    states: tuple[TrialState, ...] | None,
    included: set[int],
    after: int,
) -> None:
    arguments = _study_id(storage), states, included, after
    ours, optunas = read_trials(storage, *arguments), RDBStorage._get_trials(storage, *arguments)
    assert list(map(_text, ours)) == list(map(_text, optunas))
    assert [list(trial.params) for trial in ours] == [list(trial.params) for trial in optunas]


def test_there_are_trials_of_all_kinds(storage: StudyStorage) -> None:
    trials = read_trials(storage, _study_id(storage), None, set(), -1)
    assert {trial.state for trial in trials} == set(TrialState)
    assert trials[0].values == [math.inf, -1.0]
    assert len(trials[3].intermediate_values) == 5


def test_a_study_that_does_not_exist_is_an_error(storage: StudyStorage) -> None:
    with pytest.raises(KeyError):
        read_trials(storage, 99, None, set(), -1)


def test_part_of_a_studys_attributes_is_read(storage: StudyStorage) -> None:
    for name in ("finesweep.plan", "finesweepXplan", "dashboard:1:note_str:0", "dashboard:12:note"):
        storage.set_study_system_attr(2, name, {"of": name})
    storage.set_study_system_attr(1, "finesweep.plan", "of another study")
    assert study_attributes(storage, 2) == {"finesweep.plan": {"of": "finesweep.plan"}}
    assert study_attributes(storage, 2, "dashboard:1:note_").keys() == {"dashboard:1:note_str:0"}
    cached = optuna.load_study(study_name="s", storage=storage)._storage
    assert cached is not storage
    assert study_attributes(cached, 2) == study_attributes(storage, 2)
    other = optuna.storages.InMemoryStorage()
    study_id = other.create_new_study([optuna.study.StudyDirection.MINIMIZE])
    for name in ("finesweep.a", "b"):
        other.set_study_system_attr(study_id, name, 1)
    assert study_attributes(other, study_id) == {"finesweep.a": 1}
