"""What a study shows of itself: tables, front, snapshot, and its line among others."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from lightning_modules.outcome import Ending, Outcome, Point
from search.config import compose
from search.plan.plan import build_plan
from search.report.results import rows, snapshot, status, summarize, write_table
from search.storage.failure import Fault
from search.storage.location import study_folder
from search.study.attempt import Attempt
from search.study.prepare import check_study, prepare_study
from search.study.study import Study


def study_of(root: Path, *words: str) -> Study:
    plan = build_plan(compose("sweep", ["model=tiny", "study=s", *words]))
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    study.join()
    return study


def begin(study: Study) -> Attempt:
    attempt = study.next_attempt()
    assert attempt is not None
    study.began(attempt, num_examples=1200, stable_examples=960)
    return attempt


def point(number: int, accuracy: float, seconds: float) -> Point:
    metrics = {"accuracy": accuracy, "macro_f1": accuracy, "mcc": 0.0, "log_loss": 1 - accuracy}
    return Point(number, number, 300 * number, number / 2, 0.5, 0.5, metrics, seconds)


def finish(study: Study, accuracy: float, seconds: float) -> Attempt:
    attempt, best = begin(study), point(1, accuracy, seconds)
    study.progress(attempt, best)
    outcome = Outcome(Ending.finished, "to its end", best, (best,), seconds, 66, 99, "cpu", 2, "ok")
    study.ended(attempt, outcome)
    return attempt


def test_snapshot_tells_progress_curve_and_time_left(here: Path) -> None:
    study = study_of(here, "search.num_trials=4")
    finish(study, 0.7, 10.0)
    attempt = begin(study)
    for number, accuracy in ((1, 0.5), (2, 0.6)):
        study.progress(attempt, point(number, accuracy, 3.0 * number))
    taken = snapshot(study)
    assert (taken.num_ended, taken.num_trials) == (1, 4)
    assert taken.counts == {"complete": 1, "pruned": 0, "fail": 0, "running": 1, "waiting": 0}
    done, running = taken.rows
    assert done.is_best and done.objectives == (0.7,) and done.seconds == 10.0
    assert done.seconds_left is None and done.reason == "to its end"
    assert running.curve == (0.5, 0.6) and running.fraction == 0.5 and running.seconds == 6.0
    assert running.objectives == (None,) and not running.is_best
    assert running.seconds_left == pytest.approx(6.0, abs=1.0)
    assert taken.trials_per_hour is not None and taken.seconds_left is not None


def test_pareto_front_in_table_status_and_csv(here: Path) -> None:
    study = study_of(here, "search.objectives=[accuracy,seconds]", "search.num_trials=4")
    for accuracy, seconds in ((0.7, 10.0), (0.8, 30.0), (0.75, 40.0), (0.6, 5.0)):
        finish(study, accuracy, seconds)
    state = status(study)
    assert state["objectives"] == {"validation/accuracy": "maximize", "seconds": "minimize"}
    assert [entry["number"] for entry in state["front"]] == [1, 0, 3]
    assert state["front"][0]["seconds"] == 30.0
    assert state["best"]["number"] == 1
    assert [row.number for row in snapshot(study).rows if row.is_best] == [0, 1, 3]
    write_table(study)
    with (study.folder / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["best"] for row in table] == ["True", "True", "False", "True"]
    assert [row["seconds"] for row in table] == ["10.0", "30.0", "40.0", "5.0"]


@pytest.mark.thorough
def test_trial_that_is_worse_in_one_objective_is_never_pruned(here: Path) -> None:
    words = ("search.objectives=[accuracy,seconds]", "search.num_trials=6")
    study = study_of(here, *words, "search.pruner.min_finished=1")
    finish(study, 0.9, 10.0)
    finish(study, 0.9, 10.0)
    assert study.progress(begin(study), point(1, 0.1, 1.0)) is None
    single = study_of(here / "one", "search.num_trials=6", "search.pruner.min_finished=1")
    finish(single, 0.9, 10.0)
    finish(single, 0.9, 10.0)
    assert single.progress(begin(single), point(1, 0.1, 1.0)) is not None


def test_rows_of_arms_show_the_path_and_leave_out_what_an_arm_lacks(here: Path) -> None:
    words = ("strategy=choice(lora,full)", "strategy.rank=choice(4,8)", "search.num_trials=2")
    study = study_of(here, *words)
    finish(study, 0.5, 1.0)
    finish(study, 0.6, 2.0)
    lora, full = rows(study)
    assert lora["optimizer.lr"] == 1e-3 and full["optimizer.lr"] == 1e-4
    assert lora["strategy.rank"] == 8 and full["strategy.rank"] is None
    best = status(study)["best"]
    assert best["params"].keys() == {
        "strategy",
        "optimizer.lr",
        "data.batch_size",
        "trainer.epochs",
    }


def test_study_in_a_line_among_others(here: Path) -> None:
    study = study_of(here, "search.num_trials=2", "search.max_attempts=1")
    assert summarize(study).state == "stopped" and summarize(study).best is None
    attempt = begin(study)
    assert summarize(study).state == "running"
    study.hand_back(attempt, Fault.failed, "broke", None)
    finish(study, 0.7, 1.0)
    summary = summarize(study)
    assert (summary.state, summary.num_ended, summary.best) == ("done", 2, 0.7)
    assert 0 <= summary.age_seconds < 60 < time.time()


def test_a_new_trial_takes_no_file_that_another_study_left_in_its_folder(here: Path) -> None:
    left = here / "studies/s/trials/0000/attempt-1/checkpoint.pt"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a study whose database is gone")
    attempt = begin(study_of(here, "search.num_trials=2"))
    assert attempt.folder == left.parent
    assert sorted(path.name for path in attempt.folder.iterdir()) == [
        "attempt.json",
        "config.yaml",
    ]
