"""The first few trials are trained again in a study of their own, which decides on the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.error import ConfigError, DataError
from lightning_modules.folder import BEST_FILE
from lightning_modules.outcome import Ending, Outcome, RowScores
from search.cli import main
from search.config import Follows
from search.report.results import rows, status, summarize
from search.storage.attribute import DATA
from search.storage.failure import FailureKind
from search.storage.location import folder_name, root_of, storage_of, study_folder
from search.study import confirm, follow
from search.study.open import load_study, study_folders
from search.study.pick import drop_trial, queue_pick
from search.study.resume import compose_study
from search.study.session import join
from search.study.study import Study
from search.terminal.confirm import confirm_lines
from search.trained.export import winner
from tests.search.study.conftest import (
    GUARD,
    begin,
    ended_study,
    guarded,
    numbers_of,
    outcome,
    study_of,
    train,
    train_rest,
)

CONFIRM = ("search.confirm=2", "search.portfolio=false", "search/sampler=random")


def trained(here: Path, accuracies: Sequence[float], *words: str) -> Study:
    return ended_study(here, accuracies, *CONFIRM, *words)


def confirmed(study: Study, accuracy: Callable[[int, int], float]) -> Study:
    """Train the first few again, with an accuracy by trial and seed, and store the results."""
    confirming = confirm.begin(study)
    assert confirming is not None
    numbers = numbers_of(study)

    def ended(values: Mapping[str, Any]) -> Outcome:
        return outcome(accuracy(numbers[values["optimizer.lr"]], values["seed"]))

    train_rest(confirming, ended)
    assert confirm.store_results(study, load_study(confirming.folder))
    return confirming


def candidates(study: Study) -> list[int]:
    return [trial.number for trial in confirm.candidates(study)]


def noisy(accuracy: float, values: Sequence[float]) -> Outcome:
    return replace(outcome(accuracy), chosen_scores=RowScores("r", tuple(values)))


def test_the_first_three_and_the_default_are_candidates(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9])
    assert candidates(study) == [4, 2, 3, 0]
    study.drop(2)
    assert candidates(study) == [4, 3, 0]  # the weights of trial 1 are gone


def test_what_the_noise_parts_is_no_candidate(here: Path) -> None:
    study = study_of(here, *CONFIRM, "search.num_trials=4")
    far, near, best = [0.9, 0.8, 0.9, 0.8], [0.1, 0.5, 0.4, 0.1], [0.2, 0.3, 0.2, 0.3]
    train(study, [noisy(0.1, far), noisy(0.7, near), noisy(0.8, best), noisy(0.2, far)])
    assert candidates(study) == [2, 1, 0]  # the default is always one


def test_a_default_that_is_ahead_of_all_noise_is_not_trained_again(here: Path) -> None:
    study = study_of(here, *CONFIRM, "search.num_trials=2")
    train(study, [noisy(0.9, [0.1, 0.2, 0.1]), noisy(0.1, [0.9, 0.8, 0.9])])
    assert candidates(study) == []
    assert confirm.begin(study) is None
    assert confirm_lines(study) == [
        "Nothing is confirmed: no other trial is within the noise of the best."
    ]


def test_a_trial_without_its_weights_is_no_candidate(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9], "search.keep=1")
    kept = [trial.number for trial in study.trials if (study.folder_of(trial) / BEST_FILE).exists()]
    assert kept == [0, 2, 3, 4]  # all that may turn out to be the best
    (study.folder_of(study.trials[2]) / BEST_FILE).unlink()
    assert candidates(study) == [4, 3, 0]


def test_the_best_is_what_the_fresh_runs_say(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9])
    assert study.best is not None and study.best.number == 4
    fresh = {4: (0.5, 0.5), 2: (0.9, 0.8), 3: (0.7, 0.7), 0: (0.6, 0.6)}
    confirming = confirmed(study, lambda number, seed: fresh[number][seed - 1])
    assert confirming.plan.num_trials == 8 and study.plan.num_trials == len(study.trials) == 5
    assert study.best.number == 2
    assert [trial.number for trial in study.ranking.trials] == [2, 4, 3, 1, 0]
    assert study.ranking.front == {2}
    found = status(study)["confirmed"]
    assert found["means"] == pytest.approx({4: 0.5, 2: 0.15, 3: 0.3, 0: 0.4})
    assert (found["by"], found["seeds"], found["best"]) == ("brier", 2, 2)
    table = rows(study)
    assert [row["confirmed_runs"] for row in table] == [2, 0, 2, 2, 2]
    assert table[2]["confirmed/brier"] == pytest.approx(0.15) and table[2]["best"]
    assert confirm_lines(study) == [
        "Mean Brier score on 2 fresh seeds: 0.1500 for trial 2, 0.3000 for trial 3, 0.4000 for "
        "trial 0 (default) and 0.5000 for trial 4.",
        "There trial 2 is ahead of the default by 0.2500, with a standard error of 0.0500. "
        "So trial 2 is the best.",
        "By the validation scores of the study alone, trial 4 was ahead.",
    ]


def test_the_default_stays_within_the_noise_of_the_splits(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    confirmed(study, lambda number, seed: 0.7 if number == 0 else {1: 0.9, 2: 0.52}[seed])
    assert study.best is not None and study.best.number == 0
    text = "\n".join(confirm_lines(study))
    assert ", less than 2 of them. So trial 0 (default)" in text


def test_dropping_the_best_chooses_among_the_other_confirmed_ones(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9])
    confirmed(study, lambda number, seed: {2: 0.9, 3: 0.8}.get(number, 0.6))
    study.drop(2)
    assert study.best is not None and study.best.number == 3


def test_turned_off_again_the_results_do_not_count(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9])
    confirmed(study, lambda number, seed: 0.9 if number == 2 else 0.6)
    words = (*CONFIRM, "search.confirm=0", "search.num_trials=5")
    off = study_of(here, *words)
    assert off.best is not None and off.best.number == 4 and confirm.begin(off) is None
    assert "confirmed_runs" not in rows(off)[0] and confirm_lines(off) == []


def test_a_grown_study_trains_only_what_is_new_among_its_first_few(here: Path) -> None:
    study = trained(here, [0.5, 0.6, 0.8, 0.7, 0.9])
    confirmed(study, lambda number, seed: 0.9 if number == 2 else 0.6)
    grown = study_of(here, *CONFIRM, "search.num_trials=6")
    considered = "Only 5 of 6 trials had ended by then and were considered."
    assert confirm.begin(grown) is None  # the budget comes first
    assert confirm_lines(grown)[-1] == considered
    train(grown, [outcome(0.95)])
    assert candidates(grown) == [5, 4, 2, 0]
    confirming = confirm.begin(grown)
    assert confirming is not None
    assert (confirming.plan.num_trials, confirming.num_ended) == (10, 8)
    confirmed(grown, lambda number, seed: 0.95)
    assert grown.best is not None and grown.best.number == 5
    more = study_of(here, *CONFIRM, "search.num_trials=6", "search.confirm=3")
    confirming = confirm.begin(more)
    assert confirming is not None and confirming.plan.num_trials == 14
    assert (
        more.best is not None and more.best.number == 5
    )  # by score, until the third split is done


def test_an_interrupted_run_waits_for_the_next_command(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    confirming = confirm.begin(study)
    assert confirming is not None
    session = join(confirming)
    session.ended(begin(session), outcome(0.9))
    session.hand_back(begin(session), FailureKind.interrupted, "asked to stop", 1.0)
    session.leave()
    assert not confirm.store_results(study, load_study(confirming.folder))
    assert confirm_lines(study) == [
        "Confirming the first few, as study s.confirm: 1 of 4 runs have ended; run the same "
        "command to continue."
    ]
    again = confirm.begin(study)
    assert again is not None and again.plan.num_trials == len(again.trials) == 4
    states = [trial.state.name for trial in again.trials]
    assert states == ["COMPLETE", "WAITING", "WAITING", "WAITING"]


def test_a_trial_that_diverges_on_a_fresh_split_is_not_the_best(here: Path) -> None:
    study = trained(here, [0.5, 0.8, 0.9])
    confirming = confirm.begin(study)
    assert confirming is not None
    worst = study.params_of(study.trials[2])["optimizer.lr"]

    def ended(values: Mapping[str, Any]) -> Outcome:
        rate = values["optimizer.lr"]
        ending = Ending.diverged if rate == worst else Ending.finished
        return outcome(0.7 if rate == study.plan.default.optimizer.lr else 0.9, ending=ending)

    train_rest(confirming, ended)
    assert confirm.store_results(study, load_study(confirming.folder))
    assert study.best is not None and study.best.number == 1
    assert rows(study)[2]["confirmed_runs"] == 0


def test_two_processes_that_begin_at_once_fill_one_queue(here: Path) -> None:
    study = trained(here, [0.5, 0.8, 0.9])
    first, second = confirm.begin(study), confirm.begin(load_study(study.folder))
    assert first is not None and second is not None
    assert len(first.trials) == len(second.trials) == first.plan.num_trials == 6
    values = [str(first.params_of(trial)) for trial in first.trials]
    assert len(set(values)) == 6


def test_it_waits_for_the_budget_and_ends_with_the_study(here: Path) -> None:
    study = study_of(here, *CONFIRM, "search.num_trials=2")
    train(study, [outcome(0.5)])
    assert confirm.begin(study) is None and confirm_lines(study) == []
    train(study, [outcome(0.9)])
    assert confirm_lines(study) == [
        "The first few are not confirmed yet; run the same command to continue."
    ]
    confirming = confirm.begin(study)
    assert confirming is not None
    assert follow.ask_to_stop(study) == []
    assert confirming.is_stopping and confirm.begin(study) is None
    study.ask_to_stop(False)
    again = confirm.begin(study)
    assert again is not None and not again.is_stopping


def test_only_the_hours_that_are_left_are_used(here: Path) -> None:
    study = trained(here, [0.5, 0.9], "search.max_hours=2")
    confirming = confirm.begin(study)
    assert confirming is not None
    hours = confirming.plan.search.settings.max_hours
    assert hours is not None and 1.99 < hours <= 2


def test_it_shares_the_storage_and_the_folder_of_its_study(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    confirming = confirm.begin(study)
    assert confirming is not None
    assert confirming.folder == study.folder / "s.confirm" == study_folder(here, "s.confirm")
    assert storage_of(confirming.folder) == storage_of(study.folder)
    assert root_of(confirming.folder) == root_of(study.folder) == here
    assert study_folders(here) == [study.folder]
    assert load_study(confirming.folder).plan.composition.follows == Follows("confirm", "s")
    with pytest.raises(ConfigError, match=r"it confirms the first few of study s"):
        compose_study(["study=s.confirm"])


def test_other_rows_are_refused(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    storage = study.optuna._storage
    storage.set_study_system_attr(study.id, DATA, "other rows")
    with pytest.raises(DataError, match="the rows must be the ones"):
        confirm.begin(study)


def test_the_longest_name_has_place_for_that_of_the_confirming_study(here: Path) -> None:
    name = "x" * 100
    confirming = confirm.begin(trained(here, [0.5, 0.9], f"study={name}"))
    assert confirming is not None and confirming.plan.name == f"{name}.confirm"
    assert study_folder(here, folder_name(confirming.plan.name)) == confirming.folder


def test_a_study_with_the_name_of_the_confirming_one_stays_in_sight(here: Path) -> None:
    study_of(here, "study=s.confirm", "search.num_trials=2")
    with pytest.raises(ConfigError) as refused:
        study_of(here, *CONFIRM, "search.num_trials=2")
    assert str(refused.value) == (
        "search.confirm: study s confirms its first few in a study s.confirm, got another one. "
        "Choose another study=NAME, or set search.confirm=0."
    )
    assert [path.name for path in (here / "studies").iterdir()] == ["s.confirm"]


def test_what_belongs_to_the_study_itself_is_refused_for_the_confirming_one(here: Path) -> None:
    study = trained(here, [0.5, 0.9])
    confirming = load_study(confirmed(study, lambda number, seed: 0.9).folder)
    message = r"study: it confirms the first few of study s, got 's.confirm'. Name study=s."
    for refused in (
        lambda: winner(confirming),  # evaluate, export, and predict in Python
        lambda: queue_pick(confirming, {"optimizer.lr": 1e-3, "seed": 5}),
        lambda: drop_trial(confirming, 0),
        lambda: compose_study(["study=s.confirm"]),
    ):
        with pytest.raises(ConfigError, match=message):
            refused()
    assert len(confirming.trials) == 4 and confirming.dropped == frozenset()


def test_the_list_and_the_status_say_that_it_is_confirming(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = trained(here, [0.5, 0.9])
    assert summarize(study).state == "done"
    confirming = confirm.begin(study)
    assert confirming is not None
    session = join(confirming)
    begin(session)
    session.set_busy(True)
    assert summarize(study).state == "confirming"
    assert confirm_lines(study) == [
        "Confirming the first few, as study s.confirm: 0 of 4 runs have ended; 1 is running."
    ]
    assert main(["status", "study=s.confirm"]) == 0
    assert (
        "It confirms the first few of study s; finesweep status study=s has the result.\n"
        in capsys.readouterr().out
    )
    assert (status(confirming)["confirms"], status(study)["confirms"]) == ("s", None)
    assert status(confirming)["best"] is None and status(study)["best"] is not None
    session.leave()


def test_a_server_lists_the_study_alone_and_keeps_its_name(
    here: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database().replace("postgresql://", "postgresql+psycopg://")
    monkeypatch.setenv("FINESWEEP_STORAGE", url)
    study = trained(here, [0.5, 0.9])
    confirming = confirm.begin(study)
    assert confirming is not None
    assert study_folders(here) == [study.folder]
    mine = study_of(here, "study=t", "search.num_trials=2")
    assert [folder.name for folder in study_folders(here)] == ["s", mine.plan.name]
    study_of(here, "study=t.confirm", "search.num_trials=2")
    with pytest.raises(ConfigError, match=r"search.confirm: study t confirms its first few in"):
        study_of(here, "study=t", "search.num_trials=2", "search.confirm=2")


def test_what_breaks_a_guard_is_neither_confirmed_nor_compared_with(here: Path) -> None:
    study = study_of(here, *CONFIRM, GUARD, "search.num_trials=4")
    train(study, [guarded(0.6, 0.9), guarded(0.9, 0.9), guarded(0.8, 0.4), guarded(0.7, 0.4)])
    assert candidates(study) == [2, 3]
    confirming = confirm.begin(study)
    assert confirming is not None
    assert [guard.name for guard in confirming.plan.guards] == ["old"]


def test_a_run_that_breaks_a_guard_on_a_fresh_split_has_no_result(here: Path) -> None:
    study = study_of(here, *CONFIRM, GUARD, "search.num_trials=2")
    train(study, [guarded(0.6, 0.4), guarded(0.9, 0.4)])
    confirming = confirm.begin(study)
    assert confirming is not None
    second = study.params_of(study.trials[1])["optimizer.lr"]

    def ended(values: Mapping[str, Any]) -> Outcome:
        return guarded(0.9, 0.9) if values["optimizer.lr"] == second else guarded(0.6, 0.4)

    train_rest(confirming, ended)
    assert confirm.store_results(study, load_study(confirming.folder))
    assert study.ranking.confirmed_costs.keys() == {0}
    assert study.best is not None and study.best.number == 0


def test_runs_that_were_made_are_not_announced_again(here: Path) -> None:
    study = trained(here, (0.6, 0.9, 0.8))
    assert confirm.most_runs_left(study) == 6
    confirmed(study, lambda number, seed: 0.7 + 0.01 * number)
    assert confirm.most_runs_left(load_study(study.folder)) == 0
    grown = study_of(here, *CONFIRM, "search.num_trials=5")
    assert confirm.most_runs_left(grown) == 6  # the default's two count in any case
