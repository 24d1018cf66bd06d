"""The order of finished trials, and which of them is the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import Ending, RowScores
from search.study.session import join
from search.terminal.summary import summary
from tests.search.certificate.test_certificate import certificate
from tests.search.study.conftest import GUARD, begin, finish, guarded, outcome, point, study_of


def test_the_best_finished_trial_comes_first_and_ties_go_to_the_earlier(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=5"))
    assert session.study.best is None and session.study.ranking.front == frozenset()
    for accuracy in (0.7, 0.9, 0.9):
        finish(session, accuracy)
    session.ended(begin(session), outcome(0.99, ending=Ending.pruned))
    study = session.study
    assert [trial.number for trial in study.ranking.trials] == [1, 2, 0]
    assert study.best is not None and study.best.number == 1
    assert study.ranking.front == {1}
    assert (study.num_ended, study.is_over) == (4, False)


def test_a_loss_is_ranked_from_the_lowest(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=2", "search.metric=log_loss"))
    finish(session, accuracy=0.6)  # a log loss of 0.4
    finish(session, accuracy=0.9)
    assert [trial.number for trial in session.study.ranking.trials] == [1, 0]


@pytest.mark.parametrize(
    ("select", "numbers", "chosen_by"),
    [
        ("metric", [0, 2, 1], ("accuracy",)),
        ("log_loss", [1, 2, 0], ("log_loss", "accuracy")),
    ],
)
def test_the_rule_ranks_trials_and_leaves_their_values(
    here: Path, select: str, numbers: list[int], chosen_by: tuple[str, ...]
) -> None:
    words = ("search.num_trials=3", "search.keep=1", "search/pruner=none")
    session = join(study_of(here, f"search.select={select}", *words))
    for accuracy, loss in ((0.8, 0.9), (0.7, 0.4), (0.8, 0.5)):
        attempt, metrics = begin(session), {"accuracy": accuracy, "log_loss": loss}
        best = replace(point(1, accuracy), metrics=metrics)
        session.ended(attempt, replace(outcome(accuracy), best=best))
    study = session.study
    assert [trial.number for trial in study.ranking.trials] == numbers
    assert study.ranking.chosen_by == chosen_by
    assert [trial.value for trial in study.trials] == [0.8, 0.7, 0.8]
    assert study.ranking.front == {numbers[0]}


@pytest.mark.parametrize(
    ("select", "losses", "best"),
    [
        ("cautious_log_loss", (0.4, 0.7, 0.4, 0.9), 0),  # 0.025 lower, with an error of 0.075
        ("cautious_log_loss", (0.4, 0.5, 0.4, 0.5), 1),  # 0.175 lower, with an error of 0.048
        ("log_loss", (0.4, 0.7, 0.4, 0.9), 1),
    ],
)
def test_a_cautious_rule_keeps_the_default_within_its_noise(
    here: Path, select: str, losses: tuple[float, ...], best: int
) -> None:
    words = ("search.num_trials=2", "search/pruner=none")
    session = join(study_of(here, f"search.select={select}", *words))
    for accuracy, rows in ((0.7, (0.6, 0.6, 0.5, 0.8)), (0.8, losses)):
        metrics = {"accuracy": accuracy, "log_loss": sum(rows) / 4}
        found = replace(outcome(accuracy), best=replace(point(1, accuracy), metrics=metrics))
        session.ended(begin(session), replace(found, chosen_scores=RowScores("r", rows)))
    study = session.study
    assert study.best is not None and study.best.number == best
    assert study.ranking.default is not None and study.ranking.default.number == 0
    assert study.ranking.keeps_default is (best == 0)
    assert len(study.ranking.trials) == 2


def test_a_summary_with_a_certificate_says_that_the_default_won_by_caution(here: Path) -> None:
    words = ("search.num_trials=2", "search/pruner=none", "search.select=cautious_log_loss")
    session = join(study_of(here, *words))
    for accuracy, rows in ((0.7, (0.6, 0.6, 0.5, 0.8)), (0.8, (0.4, 0.7, 0.4, 0.9))):
        metrics = {"accuracy": accuracy, "log_loss": sum(rows) / 4}
        found = replace(outcome(accuracy), best=replace(point(1, accuracy), metrics=metrics))
        session.ended(begin(session), replace(found, chosen_scores=RowScores("r", rows)))
    made, study = certificate(0.019), session.study
    first = replace(made.first, trial=0, is_default=True)
    study.store_certificates([replace(made, first=first)])
    assert study.certificate is not None
    lines = summary(study, (), None, (600, 200))
    assert any(line.startswith("No trial was better than the default") for line in lines)


def test_a_trial_without_log_loss_leaves_the_metric_to_choose(here: Path) -> None:
    session = join(study_of(here, "search.select=log_loss", "search.num_trials=2"))
    finish(session, accuracy=0.6)
    attempt, best = begin(session), replace(point(1, 0.7), metrics={"accuracy": 0.7})
    session.ended(attempt, replace(outcome(0.7), best=best))
    assert session.study.ranking.chosen_by == ("accuracy",)
    assert session.study.best is not None and session.study.best.number == 1


def test_the_front_has_every_trial_that_is_not_dominated(here: Path) -> None:
    words = ("search.objectives=[accuracy,seconds]", "search.num_trials=3")
    session = join(study_of(here, *words))
    for accuracy, seconds in ((0.7, 10.0), (0.8, 30.0), (0.6, 20.0)):
        finish(session, accuracy, seconds)
    assert session.study.ranking.front == {0, 1}


def test_a_trial_that_breaks_a_guard_ranks_below_all_that_keep_it(here: Path) -> None:
    session = join(study_of(here, GUARD, "search.num_trials=4", "search/pruner=none"))
    for accuracy, loss in ((0.6, 0.6), (0.9, 0.9), (0.7, 0.5), (0.65, 0.4)):
        session.ended(begin(session), guarded(accuracy, loss))
    ranking = session.study.ranking
    assert [trial.number for trial in ranking.trials] == [2, 3, 1, 0]
    assert ranking.broken == {0, 1} and not ranking.none_keeps
    assert ranking.front == {2} and ranking.best is not None and ranking.best.number == 2


@pytest.mark.parametrize("finishes", [True, False])
def test_if_all_break_a_guard_the_default_is_kept(here: Path, finishes: bool) -> None:
    session = join(study_of(here, GUARD, "search.num_trials=3", "search/pruner=none"))
    first = guarded(0.6, 0.6) if finishes else outcome(0.6, ending=Ending.diverged)
    session.ended(begin(session), first)
    for accuracy in (0.9, 0.8):
        session.ended(begin(session), guarded(accuracy, 0.9))
    ranking = session.study.ranking
    assert ranking.none_keeps
    assert (None if ranking.best is None else ranking.best.number) == (0 if finishes else None)
    assert [t.number for t in ranking.trials] == ([0, 1, 2] if finishes else [1, 2])
    assert ranking.front == (frozenset({0}) if finishes else frozenset())


def test_caution_keeps_no_default_that_breaks_a_guard(here: Path) -> None:
    words = (GUARD, "search.select=cautious_log_loss", "search.num_trials=2", "search/pruner=none")
    session = join(study_of(here, *words))
    for accuracy, loss in ((0.7, 0.6), (0.71, 0.4)):
        scores = RowScores("r", (0.3, 0.2, 0.4, 0.3))
        session.ended(begin(session), replace(guarded(accuracy, loss), chosen_scores=scores))
    best = session.study.best
    assert best is not None and best.number == 1


def test_a_front_has_no_trial_that_breaks_a_guard(here: Path) -> None:
    words = (GUARD, "search.objectives=[accuracy,seconds]", "search.num_trials=3")
    session = join(study_of(here, *words))
    for accuracy, loss, seconds in ((0.6, 0.4, 9.0), (0.9, 0.9, 1.0), (0.7, 0.4, 10.0)):
        session.ended(begin(session), replace(guarded(accuracy, loss), seconds=seconds))
    assert session.study.ranking.front == {0, 2}


def test_one_seed_that_breaks_a_guard_breaks_it_for_its_configuration(here: Path) -> None:
    words = (GUARD, "seed=choice(0,1)", "search.num_trials=4", "search.portfolio=false")
    session = join(study_of(here, *words))
    for accuracy, loss in ((0.6, 0.4), (0.6, 0.4), (0.9, 0.4), (0.9, 0.9)):
        session.ended(begin(session), guarded(accuracy, loss))
    ranking = session.study.ranking
    assert ranking.broken == {2, 3}
    assert ranking.best is not None and ranking.best.number in (0, 1)
