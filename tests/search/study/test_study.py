"""What any process can read from a study."""

from __future__ import annotations

from pathlib import Path

from search.storage.attribute import START
from search.study.open import load_study
from search.study.session import join
from tests.search.study.conftest import plan_of, study_of


def test_a_default_outside_the_space_has_values_but_no_parameters(here: Path) -> None:
    study = study_of(here, "optimizer.lr=interval(0.5,1)", "trainer.epochs=range(1,5)")
    (trial,) = study.trials
    assert trial.params == {} and [*trial.system_attrs] == [START]
    default = study.plan.default
    lr, epochs = default.flat()["optimizer.lr"], default.trainer.epochs
    assert study.params_of(trial) == {"optimizer.lr": lr, "trainer.epochs": epochs}


def test_trials_beyond_a_lowered_budget_do_not_count(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=3"))
    session.next_attempts(3)
    lower = study_of(here, "search.num_trials=2")
    assert [trial.number for trial in lower.trials] == [0, 1]
    assert len(lower.optuna.get_trials()) == 3


def test_the_first_configurations_are_queued_once(here: Path) -> None:
    words = ("search.enqueue=[{optimizer.lr: 3e-4},{optimizer.lr: 2e-4}]", "search.num_trials=2")
    study_of(here, *words)
    study = study_of(here, *words)
    values = [study.params_of(trial).get("optimizer.lr") for trial in study.trials]
    assert values == [plan_of(*words).default_values["optimizer.lr"], 3e-4]
    assert study.num_unqueued == 1
    assert study_of(here, *words[:1], "search.num_trials=3").num_unqueued == 0


def test_a_stop_request_ends_the_study_for_every_process(here: Path) -> None:
    study = study_of(here, "search.num_trials=3")
    assert not study.is_over
    study.ask_to_stop(True)
    other = load_study(study.folder)
    assert other.is_stopping and other.is_over
    assert join(other).next_attempts(2) == []


def test_max_hours_ends_a_study(here: Path) -> None:
    study = study_of(here, "search.num_trials=3", "search.max_hours=0.001")
    assert study.seconds_left == (3.6, 0) and not study.hours_used_up
    session = join(study)
    session.set_busy(True)
    assert load_study(study.folder).seconds_left is not None
    left = load_study(study.folder).seconds_left
    assert left is not None and left[0] < 3.6 and left[1] == 1
    assert study_of(here, "search.num_trials=3").seconds_left is None
