"""Which trials a worker claims to train together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_modules.folder import BEST_FILE
from search.storage.attribute import ATTEMPTS, PACKED
from search.storage.failure import FailureKind
from search.study import certify, confirm, pack
from search.study.heal import end_worker
from search.study.open import load_study
from search.study.reserve import run_seconds
from search.study.session import Session, join
from search.study.study import Study
from tests.search.study.conftest import begin, finish, outcome, study_of

LORA = ("strategy=lora", "search.portfolio=false", "search.pack=4", "search.seed=1")
RANDOM = (*LORA, "search/sampler=random", "search.num_trials=10")


def packs(session: Session, num: int = 4) -> list[list[int]]:
    """Claim all trials; return the numbers of each pack."""
    found = []
    while attempts := session.next_pack(num):
        found.append([attempt.number for attempt in attempts])
    return found


def one_by_one(study: Study) -> list[dict[str, Any]]:
    session, tried = join(study), []
    for _ in range(study.plan.num_trials):
        tried.append(dict(finish(session, 0.5).values))
    return tried


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_draws_that_depend_on_no_result_fill_packs(here: Path, sampler: str) -> None:
    words = (*RANDOM, f"search/sampler={sampler}")
    study = study_of(here, *words)
    assert packs(join(study)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert all(trial.user_attrs[PACKED] for trial in study.trials)
    alone = one_by_one(study_of(here, *words, "study=alone"))
    assert [study.params_of(trial) for trial in study.trials] == alone


def test_a_grid_fills_packs(here: Path) -> None:
    space = ("optimizer.lr=choice(1e-4,3e-4,1e-3)", "strategy.rank=choice(4,8)")
    study = study_of(here, *LORA, "search/sampler=grid", *space)
    assert packs(join(study)) == [[0, 1, 2, 3], [4, 5]]


def test_of_a_model_the_first_draws_fill_packs(here: Path) -> None:
    words = (*LORA, "search/sampler=tpe", "search.num_trials=9")
    study = study_of(here, *words, "search.sampler.num_startup_trials=6")
    session = join(study)
    assert [each.number for each in session.next_pack(4)] == [0, 1, 2, 3]
    assert [each.number for each in session.next_pack(4)] == [4, 5]
    assert [each.number for each in session.next_pack(4)] == [6]
    bayes = join(study_of(here, *LORA, "study=bayes"))
    assert [each.number for each in bayes.next_pack(4)] == [0]


def test_what_was_taken_over_are_results(here: Path) -> None:
    study = study_of(here, *LORA, "search/sampler=tpe", "search.sampler.num_startup_trials=6")
    assert pack.num_foreseen(study) == 6
    prior = {"trials": [{}, {}], "best": None}
    study.optuna._storage.set_study_system_attr(study.id, "finesweep.prior", prior)
    assert pack.num_foreseen(study) == 4


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=choice(lora,full)",),
        ("seed=choice(0,1)",),
    ],
    ids=["turns of arms", "seeds of a configuration"],
)
def test_what_results_decide_is_not_foreseen(here: Path, words: tuple[str, ...]) -> None:
    study = study_of(here, *RANDOM, *words)
    assert pack.num_foreseen(study) == 0


def test_trials_that_do_not_fit_wait_for_their_own_pack(here: Path) -> None:
    words = (*RANDOM, "data.max_length=choice(16,32)", "search.num_trials=12")
    study = study_of(here, *words)
    session, lengths, most = join(study), [], 0
    while attempts := session.next_pack(4):
        lengths.append({attempt.values["data.max_length"] for attempt in attempts})
        waiting = [trial for trial in study.trials if trial.state.name == "WAITING"]
        most = max(most, len(waiting))
        assert all(trial.params for trial in waiting)
    assert all(len(each) == 1 for each in lengths)
    assert len(lengths) < 8 and 1 <= most <= 4
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(12))
    assert not any(trial.user_attrs.get(ATTEMPTS) for trial in trials)
    alone = one_by_one(study_of(here, *words, "study=alone"))
    assert [study.params_of(trial) for trial in trials] == alone


def test_each_worker_has_its_share(here: Path) -> None:
    study = study_of(here, *RANDOM, "search.workers=3")
    one, other = join(study), join(load_study(study.folder))
    assert [each.number for each in one.next_pack(9)] == [0, 1, 2, 3]  # 3 of the 9 others
    assert [each.number for each in other.next_pack(9)] == [4, 5]


def test_after_a_stop_no_more_trials_are_drawn(here: Path) -> None:
    study = study_of(here, *RANDOM)
    session = join(study)
    first = session.next_attempt()
    assert first is not None and session.next_mate(first) is not None
    study.ask_to_stop(True)
    assert session.next_mate(first) is None and len(study.trials) == 2


def test_a_pack_that_crashed_counts_for_none_of_its_trials(here: Path) -> None:
    study = study_of(here, *RANDOM, "search.max_attempts=1")
    session = join(study)
    session.next_pack(3)
    ends = end_worker(study, session.name, FailureKind.crashed, "the worker crashed")
    assert [end.ending for end in ends] == [None] * 3
    again = join(load_study(study.folder))
    assert packs(again) == [[0], [1], [2], [3, 4, 5, 6], [7, 8, 9]]


def ended(here: Path, *words: str) -> Study:
    """Return a study of which all trials have ended."""
    study = study_of(here, *RANDOM, "search.num_trials=3", *words)
    session = join(load_study(study.folder))
    for accuracy in (0.5, 0.7, 0.6):
        attempt = begin(session)
        (attempt.folder / BEST_FILE).touch()
        session.ended(attempt, outcome(accuracy))
    session.leave()
    return study


def test_the_runs_of_a_certificate_fill_packs(here: Path) -> None:
    study = ended(here, "search.certify=true", "search.certify_seeds=3", "model=minilm")
    runs = certify.begin(study)
    assert runs is not None
    assert packs(join(runs)) == [[0, 1, 2, 3], [4, 5]]
    assert {trial.params["seed"] for trial in runs.trials} == {1000, 1001, 1002}


def test_seeds_that_draw_a_whole_model_share_no_pack(here: Path) -> None:
    study = ended(here, "search.certify=true", "search.certify_seeds=3")
    runs = certify.begin(study)
    assert runs is not None and study.plan.default.model.draws_weights
    assert packs(join(runs)) == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("on", ["seeds", "splits"])
def test_the_runs_that_confirm_fill_packs(here: Path, learnable: Path, on: str) -> None:
    files = ("data=files", f"data.train={learnable}")
    words = files if on == "splits" else ("model=minilm",)
    runs = confirm.begin(ended(here, "search.confirm=2", *words))
    assert runs is not None and runs.plan.num_trials == 6
    assert packs(join(runs)) == [[0, 1, 2, 3], [4, 5]]
    name = "seed" if on == "seeds" else "data.validation_seed"
    assert {trial.params[name] for trial in runs.trials} == {1, 2}


def test_the_time_of_a_pack_is_no_trial_s_own(here: Path) -> None:
    study = study_of(here, *RANDOM)
    session = join(study)
    attempts = session.next_pack(2)
    for attempt in attempts:
        session.began(attempt, 10, 10)
        session.ended(attempt, outcome(0.5, seconds=5.0))
    for trial in study.trials:
        assert trial.datetime_complete is not None
        trial.datetime_start = trial.datetime_complete.replace(year=2000)
        assert run_seconds(trial) == 5.0
