"""The gain of each trial over the default, as trials.csv has it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.outcome import RowScores
from search.report.results import compare_with_default, rows, write_table
from search.study.session import Session, join
from tests.search.study.conftest import begin, finish, outcome, study_of

COLUMNS = ("gain", "gain_low", "gain_high")


def finish_with(session: Session, right: Sequence[float]) -> None:
    scores = RowScores("r", tuple(right))
    session.ended(begin(session), replace(outcome(sum(right) / len(right)), row_scores=scores))


def columns(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in COLUMNS]


def test_the_table_has_the_gain_that_the_summary_prints(here: Path) -> None:
    study = study_of(here, "search.num_trials=3", "search.portfolio=false", "search.select=metric")
    session = join(study)
    finish_with(session, [1.0] * 50 + [0.0] * 50)
    assert columns(rows(study)[0]) == [None] * 3
    finish_with(session, [1.0] * 40 + [0.0] * 60)
    finish_with(session, [1.0] * 60 + [0.0] * 40)
    default, worse, best = rows(study)
    assert columns(default) == [None] * 3
    assert worse["gain"] == -0.1
    comparison = compare_with_default(study)
    assert comparison is not None and comparison.gain is not None
    gain = comparison.gain
    assert columns(best) == pytest.approx([gain.value, gain.low, gain.high], abs=1e-6)
    assert 0 < best["gain_low"] < 0.1 < best["gain_high"]
    write_table(study)
    with (study.folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [row["gain"] for row in written] == ["", "-0.1", "0.1"]


def test_a_searched_seed_has_the_gain_of_the_mean(here: Path) -> None:
    words = ("seed=choice(0,1)", "search.num_trials=4", "search.portfolio=false")
    study = study_of(here, *words)
    session = join(study)
    for accuracy in (0.5, 0.6, 0.7, 0.9):
        finish(session, accuracy)
    assert [columns(row) for row in rows(study)] == [
        *[[None] * 3] * 2,
        *[[pytest.approx(0.25), None, None]] * 2,
    ]


def test_a_dropped_default_leaves_no_gain(here: Path) -> None:
    study = study_of(here, "search.num_trials=2", "search.portfolio=false")
    session = join(study)
    finish(session, 0.5)
    finish(session, 0.6)
    study.drop(0)
    assert [row["gain"] for row in rows(study)] == [None, None]
