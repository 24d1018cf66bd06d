"""A loop of the caller's own, as a script writes it."""

from __future__ import annotations

import csv
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import optuna
import pytest

import finesweep
from search.storage.attribute import METRICS

WORDS = ("x=interval(-5,5)", "search.metric=error", "search.direction=minimize")


def started(*words: str, num_trials: int = 4) -> finesweep.Study:
    words = (*WORDS, "search/sampler=random", *words)
    return finesweep.sweep("s", *words, num_trials=num_trials, ask_tell=True, show=False)


def test_a_script_searches_with_a_function_of_its_own(here: Path) -> None:
    study = started()
    numbers = []
    while (trial := study.ask()) is not None:
        assert trial.folder.is_dir() and trial.attempt == 1 and trial.notes == ()
        numbers.append(trial.number)
        error = (trial.params["x"] - 2) ** 2
        assert study.tell(trial.number, error, metrics={"distance": error**0.5}) == "finished"
    assert numbers == [0, 1, 2, 3]
    best = study.best
    assert best is not None and best.command is None
    assert best.scores["error"] == study.leaderboard()["value"].min()
    assert best.scores["distance"] == pytest.approx(best.scores["error"] ** 0.5)
    assert f"x: {best.params['x']}" in best.yaml
    assert "4 complete of 4; best error" in repr(study)
    with (here / "studies/s/trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation/error"]) for row in rows] == study.leaderboard()["value"].tolist()


def test_the_same_call_or_the_name_alone_continues(here: Path) -> None:
    for study in (started(num_trials=1), started(num_trials=2)):
        trial = study.ask()
        assert trial is not None
        study.tell(trial.number, 1.0)
        assert study.ask() is None
    study = finesweep.sweep("s", num_trials=3, show=False)
    trial = study.ask()
    assert trial is not None and trial.number == 2
    assert finesweep.open(study="s").status()["states"]["running"] == 1


def test_an_object_remembers_its_attempt_and_another_one_is_told_of_it(here: Path) -> None:
    late = started("search.ask_hours=1e-5", num_trials=1)
    assert late.ask() is not None
    time.sleep(0.1)
    now = finesweep.open(study="s")
    trial = now.ask()
    assert trial is not None and (trial.number, trial.attempt) == (0, 2)
    for call in (lambda: late.tell(0, 0.5), lambda: late.report(0, 1, 0.5)):
        with pytest.raises(finesweep.UserError, match="attempt 1 must have its lease"):
            call()
    assert now.report(0, 1, 0.5, error=0.5) is None
    third = finesweep.open(study="s")  # e.g. in another process
    with pytest.raises(finesweep.UserError, match="attempt=2 in Python"):
        third.tell(0, 0.5)
    assert third.tell(0, 0.5, attempt=2) == "finished"


def test_optuna_reads_the_study(here: Path) -> None:
    study = started(num_trials=2)
    trial = study.ask()
    assert trial is not None
    study.report(trial.number, 10, error=0.75)
    study.tell(trial.number, 0.5)
    assert study.tell(study.ask().number, reason="out of memory") == "infeasible"  # type: ignore[union-attr]
    stock = optuna.load_study(study_name="s", storage="sqlite:///studies/s/study.db")
    assert stock.best_trial.number == 0 and stock.best_params == trial.params
    assert stock.trials[0].intermediate_values == {10: 0.75}
    assert stock.trials[0].user_attrs[METRICS] == {"error": 0.5}
    assert [each.state.name for each in stock.trials] == ["COMPLETE", "PRUNED"]
    assert stock.direction.name == "MINIMIZE" and stock.metric_names == ["error"]


def test_plan_shows_what_would_be_asked(here: Path) -> None:
    ahead = finesweep.plan("s", *WORDS, "search.ask_tell=true", "search.enqueue=[{x: 1.5}]")
    assert ahead["space"] == {"x": "interval(-5,5)"} and ahead["rows"] == {}
    assert ahead["suggestions"][0] == {"x": 1.5} and ahead["metric"] == "error"
    assert not (here / "studies").exists()


def test_loops_in_threads_share_a_study(here: Path) -> None:
    study = started(num_trials=16)
    numbers = []

    def loop() -> None:
        while (trial := study.ask()) is not None:
            study.report(trial.number, 1, 0.5)
            study.tell(trial.number, trial.params["x"] ** 2)
            numbers.append(trial.number)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(loop) for _ in range(4)]:
            future.result()
    assert sorted(numbers) == list(range(16))
    assert set(study.leaderboard()["state"]) == {"complete"}
    assert not list((here / "studies/s").glob(".*.draft"))


def test_what_a_loop_gives_has_the_right_type(here: Path) -> None:
    study = started()
    trial = study.ask()
    assert trial is not None
    wrong = [
        ("trial: must be a whole number, got Trial", lambda: study.tell(trial, 1.0)),
        ("trial: must be a whole number, got '0'", lambda: study.report("0", 1, 0.5)),
        ("attempt: must be a whole number", lambda: study.tell(0, 1.0, attempt=1.5)),
        ("metrics: must be numbers by name, got ", lambda: study.tell(0, 1.0, metrics=[0.5])),
        ("curve: must be a list", lambda: study.tell(0, 1.0, curve=0.5)),
        ("curve: must be a list", lambda: study.tell(0, 1.0, curve="0.5")),
        ("reason: must be text, got 3", lambda: study.tell(0, reason=3)),
    ]
    for message, call in wrong:
        with pytest.raises(finesweep.UserError, match="^" + re.escape(message)):
            call()
    curve = numpy.array([0.5, 0.7])
    assert study.tell(numpy.int64(0), numpy.float32(1.0), curve=curve) == "finished"
