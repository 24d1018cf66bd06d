"""Confirming the first few: killed and resumed like any trial, outside the budget, and going on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import optuna

from tests.faults.conftest import Start, Sweep, ask, kill_in_follow_up, status

CONFIRM = ("search.confirm=2", "search.portfolio=false", "search/sampler=random", "data=files")
WEAK = "strategy.lr=1e-4"  # so that the default is not ahead of all noise


def table(sweep: Sweep) -> list[dict[str, str]]:
    with (sweep.folder / "studies/s/trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_killed_while_confirming_nothing_is_lost_and_nothing_counts_twice(
    sweep: Start, learnable: Path
) -> None:
    words = (*CONFIRM, WEAK, f"data.train={learnable}", "trainer.epochs=14", "search.num_trials=2")
    running = sweep(*words)
    again = running.follow_up("confirm")
    ended = kill_in_follow_up(running, again, num_ended=2)
    assert "confirming trial" in running.printed()
    state = status()
    assert (state["num_trials"], state["remaining"], state["confirmed"]) == (2, 0, None)
    assert "of 4 runs have ended; run the same command" in ask("status", "study=s")

    printed = sweep(*words).end(seconds=900)
    assert "Mean Brier score on 2 fresh splits:" in printed
    trials = again.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert ended.items() <= again.ended.items()  # none was trained again
    assert sorted({trial.params["data.validation_seed"] for trial in trials}) == [1, 2]
    state = status()
    assert state["states"]["complete"] == state["num_trials"] == 2
    best = state["confirmed"]["best"]
    assert state["best"]["number"] == best
    rows = table(running)
    assert [row["confirmed_runs"] for row in rows] == ["2", "2"]
    assert [row["best"] for row in rows] == [str(number == best) for number in (0, 1)]
    listed = optuna.get_all_study_names(running.storage)
    assert sorted(listed) == ["s", "s.confirm"]  # stock Optuna finds both in one file
    assert [each["study"] for each in json.loads(ask("status", "--json"))] == ["s"]
    ask("export", "study=s", "to=best")
    card = (running.folder / "best" / "README.md").read_text(encoding="utf-8")
    assert f"trial {best}" in card

    # Going on: only what is new among the first few is trained.
    sweep(*words[:-1], "search.num_trials=3").end(seconds=900)
    assert status()["states"]["complete"] == 3
    assert len(again.trials) == sum(int(row["confirmed_runs"]) for row in table(running)) >= 4
