"""A study's results: tables, front, snapshot, and its line in the list."""

from __future__ import annotations

import csv
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.outcome import Ending, Outcome, Point, RowScores
from search.config import compose
from search.plan.build import build_plan
from search.report.results import (
    compare_with_default,
    rows,
    snapshot,
    status,
    summarize,
    summarize_all,
    write_table,
)
from search.report.text import gain_lines
from search.storage.attribute import REASON
from search.storage.failure import FailureKind
from search.storage.location import study_folder
from search.study.attempt import Attempt
from search.study.gain import Gain
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.session import Session, join
from tests.search.report.synthetic import study_of


def session_of(root: Path, *words: str) -> Session:
    fixed = ["model=tiny", "study=s", "search.certify=false"]
    plan = build_plan(compose("sweep", [*fixed, *words]))
    folder = study_folder(root, plan.name)
    study = prepare_study(plan, folder, check_study(plan, folder))
    return join(study)


def begin(session: Session) -> Attempt:
    attempt = session.next_attempt()
    assert attempt is not None
    session.began(attempt, num_examples=1200, stable_examples=960)
    return attempt


def point(number: int, accuracy: float, seconds: float) -> Point:
    metrics = {
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "mcc": 0.0,
        "log_loss": 1 - accuracy,
        "brier": 1 - accuracy,
    }
    return Point(number, number, 300 * number, number / 2, 0.5, 0.5, metrics, seconds)


def finish(
    session: Session, accuracy: float, seconds: float, scores: RowScores | None = None
) -> Attempt:
    attempt, best = begin(session), point(1, accuracy, seconds)
    session.progress(attempt, best)
    outcome = Outcome(Ending.finished, "to its end", best, (best,), seconds, 66, 99, "cpu", 2, "ok")
    session.ended(attempt, replace(outcome, row_scores=scores))
    return attempt


def test_snapshot_has_progress_curve_and_time_left(here: Path) -> None:
    session = session_of(here, "search.num_trials=4")
    finish(session, 0.7, 10.0)
    attempt = begin(session)
    for number, accuracy in ((1, 0.5), (2, 0.6)):
        session.progress(attempt, point(number, accuracy, 3.0 * number))
    taken = snapshot(session.study)
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
    session = session_of(here, "search.objectives=[accuracy,seconds]", "search.num_trials=4")
    for accuracy, seconds in ((0.7, 10.0), (0.8, 30.0), (0.75, 40.0), (0.6, 5.0)):
        finish(session, accuracy, seconds)
    state = status(session.study)
    assert state["objectives"] == {"validation/accuracy": "maximize", "seconds": "minimize"}
    assert [entry["number"] for entry in state["front"]] == [1, 0, 3]
    assert state["front"][0]["seconds"] == 30.0
    assert state["best"]["number"] == 1
    assert [row.number for row in snapshot(session.study).rows if row.is_best] == [0, 1, 3]
    write_table(session.study)
    with (session.study.folder / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["best"] for row in table] == ["True", "True", "False", "True"]
    assert [row["seconds"] for row in table] == ["10.0", "30.0", "40.0", "5.0"]


def test_the_gain_has_an_interval_paired_on_the_validation_rows(here: Path) -> None:
    session = session_of(here, "search.num_trials=3", "search/pruner=none")
    finish(session, 0.5, 1.0, RowScores("r", (1.0, 0.0, 1.0, 0.0)))
    assert status(session.study)["best"]["gain"]["value"] == 0.0
    finish(session, 0.75, 1.0, RowScores("r", (1.0, 0.0, 1.0, 1.0)))
    gain = status(session.study)["best"]["gain"]
    assert gain == pytest.approx(
        {"value": 0.25, "low": -0.5456, "high": 1.0456, "level": 0.95}, abs=1e-4
    )
    metric = status(session.study)["metric"].removeprefix("validation/")
    comparison = compare_with_default(session.study)
    assert comparison is not None
    assert gain_lines(comparison.gain, metric, 4) == [
        "It is not distinguishable from the default configuration in accuracy (0.2500 better, "
        "95 % interval -0.5456 to 1.0456).",
        "The interval covers the choice of the 4 validation rows, not the seed. The best trial "
        "was chosen on these rows, so its gain looks larger than it is.",
    ]
    finish(session, 1.0, 1.0)  # as an earlier version stored it
    assert status(session.study)["best"]["gain"] == {
        "value": 0.5,
        "low": None,
        "high": None,
        "level": 0.95,
    }


def test_a_clear_gain_and_an_unknown_one_are_named() -> None:
    clear = gain_lines(Gain(0.02, 0.01, 0.03), "accuracy")
    assert clear[0] == (
        "It is 0.0200 better in accuracy than the default configuration "
        "(95 % interval 0.0100 to 0.0300)."
    )
    (unknown,) = gain_lines(Gain(-0.02), "accuracy")
    assert "0.0200 worse" in unknown and "not kept" in unknown
    assert gain_lines(None, "accuracy") == [
        "There is no result of the default configuration to compare with."
    ]


def test_rows_have_all_paths_and_leave_those_of_other_arms_empty(here: Path) -> None:
    words = ("strategy=choice(lora,full)", "strategy.rank=choice(4,8)", "search.num_trials=2")
    session = session_of(here, *words)
    finish(session, 0.5, 1.0)
    finish(session, 0.6, 2.0)
    lora, full = rows(session.study)
    assert lora["optimizer.lr"] == 1e-3 and full["optimizer.lr"] == 2e-4
    assert lora["strategy.rank"] == 8 and full["strategy.rank"] is None
    best = status(session.study)["best"]
    assert best["params"].keys() == {
        "strategy",
        "optimizer.lr",
        "data.batch_size",
        "trainer.epochs",
    }


def test_a_study_is_summarized_for_the_list(here: Path) -> None:
    session = session_of(here, "search.num_trials=2", "search.max_attempts=1")
    assert summarize(session.study).state == "stopped" and summarize(session.study).best is None
    attempt = begin(session)
    assert summarize(session.study).state == "running"
    session.hand_back(attempt, FailureKind.failed, "broke", None)
    finish(session, 0.7, 1.0)
    summary = summarize(session.study)
    assert (summary.state, summary.num_ended, summary.best) == ("done", 2, 0.7)
    assert 0 <= summary.age_seconds < 60 < time.time()


def test_a_study_that_cannot_be_read_hides_no_other(here: Path) -> None:
    """A file that is no database, one that ends early, and one whose page of trials is damaged."""
    for name in "abcd":
        study_of(here, name, ["complete"])
    files = {name: here / "studies" / name / "study.db" for name in "abcd"}
    with closing(sqlite3.connect(files["d"])) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        whole = here / "whole.db"
        database.execute(f"VACUUM INTO '{whole}'")
    with closing(sqlite3.connect(whole)) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'trials'"
        (page,) = database.execute(query).fetchone()
    content = whole.read_bytes()
    for name in "bcd":  # new files: connections of this process may have the old ones open
        for path in files[name].parent.glob("study.db*"):
            path.unlink()
    files["b"].write_bytes(b"no database" * 99)
    files["c"].write_bytes(content[: len(content) // 2])
    files["d"].write_bytes(content[: (page - 1) * size] + b"\xff" * size + content[page * size :])
    summaries, unread = summarize_all(here)
    assert [summary.study for summary in summaries] == ["a"]
    assert [line.split(": ")[:2] for line in unread] == [[name, "study"] for name in "bcd"]
    assert all("must be a database of studies, got " in line for line in unread)
    with pytest.raises(ConfigError, match="got database disk image is malformed"):
        status(load_study(files["d"].parent))


def test_no_cell_of_the_table_is_a_formula(here: Path) -> None:
    study = study_of(here, "s", ["running"])
    trial = study.trials[0]
    formula = '=HYPERLINK("http://example.com")'
    study.optuna._storage.set_trial_user_attr(trial._trial_id, REASON, formula)
    write_table(study)
    with (study.folder / "trials.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reason"] == f"'{formula}"
