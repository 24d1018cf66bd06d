from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError, SpaceError
from search.config import compose_free
from search.plan.build import build_plan
from search.report.results import compare_with_default, rows, status
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study.ask import ask
from search.study.open import load_study
from search.study.pick import drop_trial, queue_pick
from search.study.prepare import prepare_study
from search.study.progress import reason_to_stop
from search.study.session import join
from search.study.study import Study
from tests.search.study.conftest import finish, study_of

EPOCHS = "trainer.epochs=range(1,4)"


@pytest.fixture
def study(here: Path) -> Study:
    """Return a study with three finished trials of four; trial 1 is the best."""
    study = study_of(here, EPOCHS, "search.num_trials=4", "search.portfolio=false")
    session = join(study)
    for accuracy in (0.6, 0.8, 0.7):
        finish(session, accuracy)
    session.leave()
    return load_study(study.folder)


def test_a_pick_is_the_next_trial_with_the_defaults_other_values(study: Study) -> None:
    pick = queue_pick(study, {"optimizer.lr": 3e-4})
    assert (pick.number, pick.budget) == (3, None)
    assert pick.values == {**study.plan.default_values, "optimizer.lr": 3e-4}
    session = join(study)
    attempt = finish(session, 0.9)
    assert (attempt.number, attempt.values) == (3, pick.values)
    assert study.trial(3).params == pick.values
    assert session.next_attempt() is None


def test_a_pick_beyond_the_budget_says_what_to_raise(study: Study) -> None:
    queue_pick(study, {"optimizer.lr": 3e-4})
    pick = queue_pick(study, {"optimizer.lr": 4e-4})
    assert (pick.number, pick.budget) == (4, 5)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    words = (EPOCHS, "search.num_trials=5", "search.portfolio=false")
    raised = study_of(study.folder.parents[1], *words)
    assert raised.params_of(raised.trials[4]) == pick.values


def test_a_pick_outside_the_space_runs(study: Study) -> None:
    pick = queue_pick(study, {"optimizer.lr": 0.5, "trainer.epochs": 7})
    attempt = finish(join(study), 0.9)
    assert attempt.values == pick.values == {"optimizer.lr": 0.5, "trainer.epochs": 7}
    assert study.best is not None and study.params_of(study.best) == pick.values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer.rl": 1}, r"optimizer\.rl: study s must search it, got 1\. Did you mean"),
        ({"strategy.rank": 4}, r"strategy\.rank: study s must search it"),
        ({"trainer.epochs": -1}, r"trainer\.epochs: must be > 0"),
        ({"trainer.epochs": "many"}, r"trainer\.epochs: must be a whole number"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    study: Study, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        queue_pick(study, values)
    assert len(study.trials) == 3


def test_a_configuration_is_not_tried_twice(study: Study) -> None:
    with pytest.raises(ConfigError, match="not have this configuration yet, got trial 0, complete"):
        queue_pick(study, study.plan.default_values)
    queue_pick(study, {"optimizer.lr": 3e-4})
    with pytest.raises(ConfigError, match="got trial 3, waiting"):
        queue_pick(study, {"optimizer.lr": 3e-4})


def test_a_space_without_trials_left_takes_no_pick(here: Path) -> None:
    study = study_of(here, "optimizer.lr=choice(1e-4,1e-3)", "strategy.lr=1e-3")
    session = join(study)
    for _ in range(2):
        finish(session, 0.5)
    with pytest.raises(ConfigError, match="must have fewer than its 2 possible trials"):
        queue_pick(study, {"optimizer.lr": 1e-2})


def test_a_space_of_choices_takes_no_pick_outside(here: Path) -> None:
    words = ("optimizer.lr=choice(1e-4,1e-3,3e-3)", "strategy.lr=1e-3", "search.num_trials=1")
    study = study_of(here, *words)
    message = r"optimizer\.lr: must be in .*, got 0\.01\. Study s tries its 3 combinations only"
    with pytest.raises(ConfigError, match=message):
        queue_pick(study, {"optimizer.lr": 1e-2})
    assert queue_pick(study, {"optimizer.lr": 3e-3}).number == 1


def test_a_free_study_takes_a_pick_of_some_names(here: Path) -> None:
    words = ["study=f", "search.ask_tell=true", "search.metric=score", "search.direction=maximize"]
    plan = build_plan(compose_free([*words, "x=interval(0,1)", "y=choice(a,b)"]))
    study = prepare_study(plan, study_folder(here, "f"), None)
    pick = queue_pick(study, {"x": 0.25})
    assert (pick.number, pick.values) == (0, {"x": 0.25})
    attempt = ask(study)
    assert attempt is not None
    assert attempt.values["x"] == 0.25 and attempt.values["y"] in ("a", "b")
    with pytest.raises(ConfigError, match="not have this configuration yet, got trial 0, running"):
        queue_pick(study, {"x": 0.25})
    with pytest.raises(SpaceError, match="x: must be in interval"):
        queue_pick(study, {"x": 2.0})
    with pytest.raises(SpaceError, match="z: must be a searched path"):
        queue_pick(study, {"z": 0.5})


def test_an_arm_is_picked_with_its_own_defaults(here: Path) -> None:
    words = ("strategy=choice(lora,full)", "strategy.rank=choice(4,8)")
    study = study_of(here, *words)
    pick = queue_pick(study, {"strategy": "full", "optimizer.lr": 5e-4})
    assert pick.values == {"strategy": "full", "optimizer.lr": 5e-4}
    with pytest.raises(ConfigError, match=r"strategy\.rank: full must search it"):
        queue_pick(study, {"strategy": "full", "strategy.rank": 4})
    with pytest.raises(ConfigError, match="strategy: must be one of lora, full, got 'freeze'"):
        queue_pick(study, {"strategy": "freeze"})


def test_a_dropped_trial_is_not_ranked_and_comes_back(study: Study) -> None:
    assert study.best is not None and study.best.number == 1
    drop_trial(study, 1)
    assert [trial.number for trial in study.ranking.trials] == [2, 0]
    assert study.ranking.front == frozenset({2})
    assert rows(study)[1]["reason"] == "dropped (to its end)"
    assert not rows(study)[1]["best"]
    assert status(study)["remaining"] == 1
    drop_trial(study, 1, undo=True)
    assert study.best.number == 1


def test_a_dropped_default_is_compared_with_nothing(study: Study) -> None:
    drop_trial(study, 0)
    comparison = compare_with_default(study)
    assert comparison is not None and comparison.default is None


def test_a_waiting_trial_leaves_the_queue_and_its_configuration_may_be_queued_again(
    study: Study,
) -> None:
    queue_pick(study, {"optimizer.lr": 3e-4})
    assert drop_trial(study, 3) == "leaves the queue; it still counts in the budget"
    assert study.trial(3).state.name == "PRUNED" and study.num_ended == 4
    assert rows(study)[3]["reason"] == "dropped (left the queue untrained)"
    assert status(study)["states"]["pruned"] == 1
    assert join(study).next_attempt() is None
    with pytest.raises(ConfigError, match=r"undo: the trial must have been trained, got 3, which"):
        drop_trial(study, 3, undo=True)
    study_of(study.folder.parents[1], EPOCHS, "search.num_trials=4", "search.portfolio=false")
    assert len(study.optuna.trials) == 4
    assert queue_pick(study, {"optimizer.lr": 3e-4}).number == 4
    assert drop_trial(study, 4).startswith("leaves the queue")  # beyond the budget
    with pytest.raises(ConfigError, match=r"trial: must be a trial of study s, 0 to 4, got 5"):
        drop_trial(study, 5)


def test_an_enqueued_configuration_that_was_dropped_is_not_queued_again(here: Path) -> None:
    words = ("search.enqueue=[{trainer.epochs: 2}]", "search.portfolio=false", EPOCHS)
    study = study_of(here, *words)
    drop_trial(study, 1)
    again = study_of(here, *words)
    assert [trial.state.name for trial in again.trials] == ["WAITING", "PRUNED"]


def test_a_running_trial_stops_at_its_next_validation(study: Study) -> None:
    attempt = join(study).next_attempt()
    assert attempt is not None
    assert drop_trial(study, attempt.number) == "is dropped, and stops at its next validation"
    assert reason_to_stop(study, attempt.number, 100, 1) == "stopped on request"
    drop_trial(study, attempt.number, undo=True)
    assert reason_to_stop(study, attempt.number, 100, 1) is None


def test_a_trial_that_waits_for_its_next_attempt_keeps_why_it_ended(study: Study) -> None:
    session = join(study)
    attempt = session.next_attempt()
    assert attempt is not None
    session.hand_back(attempt, FailureKind.interrupted, "interrupted after step 3", None)
    drop_trial(study, attempt.number)
    assert rows(study)[3]["reason"] == "dropped (interrupted after step 3)"
    drop_trial(study, attempt.number, undo=True)
    assert study.trial(3).state.name == "PRUNED"
