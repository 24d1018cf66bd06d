from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.outcome import Ending
from search.config import compose_again, compose_free
from search.plan.build import build_plan
from search.sampler.base import inside
from search.sampler.observation import losses
from search.storage.location import study_folder
from search.study.ask import ask
from search.study.knowledge import prior_trials, view_of
from search.study.open import stored
from search.study.prepare import check_study, prepare_study
from search.study.session import join
from search.study.study import Study
from search.study.suggest import first_suggestions
from search.study.tell import result_of, tell
from search.study.warm import Warm
from tests.search.study.conftest import (
    GUARD,
    SPACE,
    begin,
    finish,
    guarded,
    outcome,
    plan_of,
    point,
    study_of,
)

EPOCHS = "trainer.epochs=range(1,4)"
WARM = ("study=new", "search.warm_start=s", "search.portfolio=false")


@pytest.fixture
def other(here: Path) -> Study:
    """Return the study s: trial 2 is the best, trial 3 diverged."""
    words = (EPOCHS, "search.num_trials=4", "search.portfolio=false", "search/sampler=random")
    study = study_of(here, *words)
    session = join(study)
    for accuracy in (0.6, 0.7, 0.9):
        finish(session, accuracy)
    attempt = begin(session)
    session.progress(attempt, point(1, 0.95))  # Optuna takes it for its value
    session.ended(attempt, outcome(0.1, ending=Ending.diverged))
    return study


def warm_note(study: Study) -> str:
    assert study.prior is not None
    return Warm(**study.prior).note


def test_trials_of_the_same_space_are_prior_observations(other: Study, here: Path) -> None:
    study = study_of(here, *WARM, EPOCHS)
    assert warm_note(study) == (
        "4 of 4 trials of study s are prior observations; its best configuration is tried early"
    )
    view = inside(study.optuna, view_of(study.optuna, study.plan.space))
    seen = [trial for trial in view.get_trials() if trial.state.is_finished()]
    assert [trial.params for trial in seen] == [trial.params for trial in other.trials]
    assert [trial.state for trial in seen] == [trial.state for trial in other.trials]
    assert [trial.values for trial in seen] == [[0.6], [0.7], [0.9], None]
    assert any(name.startswith("constraints:") for name in seen[3].system_attrs)
    assert losses(seen, [-1])[seen[3].number] == [-0.6]  # the worst
    assert not study.ranking.trials and study.num_ended == 0


def test_the_best_configuration_follows_the_default(other: Study, here: Path) -> None:
    study = study_of(here, *WARM, EPOCHS, "search.num_trials=3")
    best = other.params_of(other.trials[2])
    suggested = first_suggestions(study.plan, study.prior)
    session = join(study)
    ran = [finish(session, 0.5).values for _ in range(3)]
    assert ran[:2] == [study.plan.default_values, best]
    assert suggested[: len(ran)] == ran[: len(suggested)]


def test_a_part_of_the_space_fits_as_far_as_it_can(other: Study, here: Path) -> None:
    num_epochs = [other.params_of(trial)["trainer.epochs"] for trial in other.trials]
    study = study_of(here, *WARM, "trainer.epochs=2", "data.batch_size=choice(8,16)")
    assert study.prior is not None
    assert len(study.prior["trials"]) == num_epochs.count(2)
    assert all(each["values"]["data.batch_size"] == 16 for each in study.prior["trials"])
    num_left = 4 - num_epochs.count(2)
    assert f"{num_left} do not fit the space" in warm_note(study)


def test_another_strategy_does_not_fit(other: Study, here: Path) -> None:
    study = study_of(here, *WARM, EPOCHS, "strategy=full")
    assert study.prior is not None and not study.prior["trials"]


def test_what_was_taken_over_stays(other: Study, here: Path) -> None:
    before = study_of(here, *WARM, EPOCHS).prior
    other.drop(2)
    assert study_of(here, *WARM, EPOCHS, "search.num_trials=30").prior == before


def test_scores_of_other_rows_are_shifted(other: Study, here: Path) -> None:
    study = study_of(here, *WARM, EPOCHS)
    session = join(study)
    for accuracy in (0.3, 0.2):
        finish(session, accuracy)
    prior = {**(study.prior or {}), "same_rows": False}
    seen = prior_trials(prior, study.plan.space, study.trials)
    assert [trial.values[0] for trial in seen[:3]] == pytest.approx([0.15, 0.25, 0.45])
    assert "it has other or unknown rows, so their scores count" in Warm(**prior).note


def test_scores_of_another_model_are_shifted(other: Study, here: Path) -> None:
    study = study_of(here, *WARM, EPOCHS, "model.width=16")
    finish(join(study), 0.2)
    assert study.prior is not None
    seen = prior_trials(study.prior, study.plan.space, study.trials)
    assert [trial.values[0] for trial in seen[:3]] == pytest.approx([0.1, 0.2, 0.4])
    assert "it has another model, so their scores count" in warm_note(study)


def test_a_free_study_learns_from_another_one_whose_rows_nobody_knows(here: Path) -> None:
    def free(*words: str) -> Study:
        fixed = ["search.ask_tell=true", "search.metric=score", "search.direction=maximize"]
        plan = build_plan(compose_free([*fixed, "x=interval(0,1)", *words]))
        return prepare_study(plan, study_folder(here, plan.name), None)

    first = free("study=s", "search.num_trials=2")
    for value in (0.2, 0.6):
        attempt = ask(first)
        assert attempt is not None
        tell(first, attempt.number, result_of("score", value))
    study = free("study=new", "search.warm_start=s")
    assert study.prior is not None and len(study.prior["trials"]) == 2
    assert not study.prior["same_rows"]
    wider = free("study=other", "y=interval(0,1)", "search.warm_start=s").prior
    assert wider is not None and not wider["trials"]  # they have no y


def test_a_warm_start_is_taken_back(other: Study, here: Path) -> None:
    assert study_of(here, *WARM, EPOCHS).prior is not None
    words = [*WARM[::2], "search.warm_start=null", "model=tiny", "logger=none", *SPACE, EPOCHS]
    folder, before = study_folder(here, "new"), stored(study_folder(here, "new"))
    assert before is not None
    composition = compose_again(words, before.composition)
    assert composition.changed == (
        "search.warm_start=null: the trials of study s no longer count here",
    )
    plan = build_plan(composition)
    study = prepare_study(plan, folder, check_study(plan, folder))
    assert study.prior is None
    assert view_of(study.optuna, plan.space)(study.trials) == study.trials
    assert study_of(here, *WARM, EPOCHS).prior is not None  # named again


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("search.warm_start=t",),
            "must be a study in .*, got 't'",
        ),
        (("search.warm_start=new",), "must be another study, got 'new'"),
        (
            ("search.warm_start=s", "search.metric=mcc"),
            r"must have the objective maximize validation/mcc, got maximize validation/accuracy",
        ),
    ],
)
def test_a_study_that_cannot_help_is_refused(
    other: Study, words: tuple[str, ...], message: str
) -> None:
    plan = plan_of("study=new", EPOCHS, *words)
    with pytest.raises(ConfigError, match=message):
        check_study(plan, other.folder.parent / "new")


@pytest.mark.parametrize("has_guard", [True, False])
def test_a_guard_of_the_other_study_counts_if_this_one_has_it(here: Path, has_guard: bool) -> None:
    session = join(study_of(here, GUARD, "search.num_trials=2", "search.portfolio=false"))
    for accuracy, loss in ((0.7, 0.4), (0.9, 0.9)):
        session.ended(begin(session), guarded(accuracy, loss))
    study = study_of(here, *WARM, *([GUARD] if has_guard else []))
    assert study.prior is not None
    assert [each["scores"] for each in study.prior["trials"]] == [
        [0.7],
        None if has_guard else [0.9],
    ]
