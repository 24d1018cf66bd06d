from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.outcome import Ending
from search.report.results import compare_with_default, status
from search.report.text import gain_lines
from search.study.pick import drop_trial
from search.study.session import join
from search.study.study import Study
from search.terminal.summary import summary
from tests.search.study.conftest import begin, finish, outcome, point, study_of

SEEDS = "seed=choice(0,1,2)"


@pytest.fixture
def study(here: Path) -> Study:
    return study_of(here, SEEDS, "search.num_trials=9", "search.portfolio=false")


def test_each_configuration_is_trained_with_every_seed(study: Study) -> None:
    session = join(study)
    ran = [dict(finish(session, 0.5).values) for _ in range(9)]
    assert [values["seed"] for values in ran] == [0, 1, 2] * 3
    rates = [values["optimizer.lr"] for values in ran]
    assert rates[0::3] == rates[1::3] == rates[2::3]
    assert len({*rates}) == 3
    assert study.plan.run(ran[1]).seed == 1


def test_the_mean_counts(study: Study) -> None:
    session = join(study)
    for accuracy in (0.5, 0.6, 0.7, 0.9, 0.4, 0.4, 0.1, 0.2, 0.95):
        finish(session, accuracy)
    assert [trial.number for trial in study.ranking.trials] == [2, 1, 0, 3, 4, 5, 8, 7, 6]
    assert study.best is not None
    assert [trial.number for trial in study.ranking.by_seed(study.best).values()] == [0, 1, 2]
    assert status(study)["best"]["value_by_seed"] == {0: 0.5, 1: 0.6, 2: 0.7}
    assert (
        "Its configuration counts by its mean accuracy 0.6000: 0.5000 with seed 0, "
        "0.6000 with seed 1, 0.7000 with seed 2."
    ) in summary(study, ["study=s"], None, (600, 200))


def test_a_configuration_that_diverged_is_left(study: Study) -> None:
    session = join(study)
    for _ in range(3):
        finish(session, 0.5)
    session.ended(begin(session), outcome(0.1, ending=Ending.diverged))
    values = begin(session).values
    assert values["seed"] == 0
    assert values["optimizer.lr"] != study.params_of(study.trials[3])["optimizer.lr"]


def test_the_configuration_of_a_dropped_seed_is_left_and_ranks_behind(study: Study) -> None:
    session = join(study)
    for accuracy in (0.5, 0.5, 0.5, 0.8, 0.9):
        finish(session, accuracy)
    dropped = study.params_of(study.trials[3])
    assert drop_trial(study, 3) == (
        "is dropped; its configuration lacks a seed now, and ranks behind those that have all"
    )
    ran = [dict(finish(session, 0.4).values) for _ in range(3)]
    assert {values["seed"] for values in ran} == {0, 1, 2}
    assert len({dropped["optimizer.lr"], *(values["optimizer.lr"] for values in ran)}) == 2
    assert [trial.number for trial in study.ranking.trials] == [0, 1, 2, 5, 6, 7, 4]
    drop_trial(study, 3, undo=True)
    assert finish(session, 0.9).values == {**dropped, "seed": 2}
    assert study.best is not None and study.best.number == 4


def test_a_dropped_trial_without_a_result_ends_its_configuration(study: Study) -> None:
    session = join(study)
    for _ in range(3):
        finish(session, 0.5)
    diverged = begin(session)
    session.ended(diverged, outcome(0.1, ending=Ending.diverged))
    study.drop(3)
    rates = {begin(session).values["optimizer.lr"] for _ in range(3)}
    assert len(rates) == 1 and diverged.values["optimizer.lr"] not in rates


def test_workers_share_the_seeds_of_a_configuration(study: Study) -> None:
    session = join(study)
    values = [begin(session).values for _ in range(6)]
    assert [each["seed"] for each in values] == [0, 1, 2, 0, 1, 2]


def test_a_configuration_with_a_finished_seed_is_not_pruned(here: Path) -> None:
    words = (
        "search/pruner=median",
        "search.pruner.min_finished=1",
        "search.pruner.min_fraction=0.35",
    )
    session = join(study_of(here, SEEDS, "search.num_trials=9", "search.portfolio=false", *words))
    for _ in range(3):
        attempt = begin(session)
        session.progress(attempt, point(1, 0.5))
        session.progress(attempt, point(2, 0.9))
        session.ended(attempt, outcome(0.9))
    first, second = begin(session), begin(session)
    session.progress(first, point(1, 0.5))
    assert session.progress(first, point(2, 0.6)) is not None
    session.ended(first, outcome(0.6))
    session.progress(second, point(1, 0.5))
    assert session.progress(second, point(2, 0.6)) is None


@pytest.mark.parametrize("ending", [Ending.pruned, Ending.diverged, Ending.infeasible])
def test_a_lucky_seed_does_not_win_if_another_one_ended_without_a_result(
    study: Study, ending: Ending
) -> None:
    session = join(study)
    for accuracy in (0.5, 0.6, 0.7, 0.9):
        finish(session, accuracy)
    session.ended(begin(session), outcome(0.1, ending=ending))
    assert [trial.number for trial in study.ranking.trials] == [2, 1, 0, 3]
    study.drop(4)  # it still lacks two seeds
    assert [trial.number for trial in study.ranking.trials] == [2, 1, 0, 3]


def test_a_lucky_seed_is_not_on_the_front_if_another_one_ended_without_a_result(here: Path) -> None:
    words = (SEEDS, "search.num_trials=9", "search.objectives=[accuracy,seconds]")
    session = join(study_of(here, *words, "search.portfolio=false"))
    for accuracy in (0.5, 0.6, 0.7, 0.9):
        finish(session, accuracy)
    session.ended(begin(session), outcome(0.1, ending=Ending.diverged))
    assert session.study.ranking.front == {0, 1, 2}


def test_the_gain_is_that_of_the_mean(study: Study) -> None:
    session = join(study)
    for accuracy in (0.5, 0.6, 0.7):
        finish(session, accuracy)
    same = compare_with_default(study)
    assert same is not None and same.gain is not None
    assert same.best.number == 2 and same.default is same.best and same.gain.value == 0.0
    for accuracy in (0.6, 0.7, 0.8):
        finish(session, accuracy)
    better = compare_with_default(study)
    assert better is not None and better.default is not None
    assert (better.best.number, better.default.number) == (5, 0)
    assert gain_lines(better.gain, "accuracy") == [
        "Its mean over the seeds is 0.1000 better in accuracy than that of the default "
        "configuration, on validation rows. The noise of this is unknown: no interval is computed "
        "for means over seeds."
    ]


def test_a_configuration_with_fewer_seeds_does_not_win(study: Study) -> None:
    session = join(study)
    for accuracy in (0.5, 0.6, 0.7, 0.95):  # the budget may end here
        finish(session, accuracy)
    assert [trial.number for trial in study.ranking.trials] == [2, 1, 0, 3]
    finish(session, 0.9)
    assert study.best is not None and study.best.number == 2
    finish(session, 0.9)
    assert study.best.number == 3
    assert [trial.number for trial in study.ranking.trials] == [3, 4, 5, 2, 1, 0]


def test_a_configuration_with_fewer_seeds_is_not_on_the_front(here: Path) -> None:
    words = (SEEDS, "search.num_trials=9", "search.objectives=[accuracy,seconds]")
    session = join(study_of(here, *words, "search.portfolio=false"))
    for accuracy in (0.5, 0.6, 0.7, 0.95):
        finish(session, accuracy)
    assert session.study.ranking.front == {0, 1, 2}
