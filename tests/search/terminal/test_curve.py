"""A study over the number of training rows: its learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import RowScores
from search.config import compose
from search.plan.build import build_plan
from search.study.session import Session, join
from search.terminal.curve import curve_lines, more_rows, size_notes
from tests.conftest import run_here
from tests.search.study.conftest import begin, outcome, study_of


@pytest.mark.parametrize(
    ("points", "sign", "error", "line"),
    [
        (
            [(50, 0.6), (100, 0.7), (200, 0.8)],
            1,
            0.02,
            "More rows would help: accuracy gained 0.1000 from 100 to 200",
        ),
        ([(100, 0.80), (200, 0.81)], 1, 0.04, "More rows may help: accuracy gained"),
        (
            [(100, 0.80), (200, 0.79)],
            1,
            0.04,
            "More rows are unlikely to help much: accuracy gained",
        ),
        ([(100, 0.9), (200, 1.0)], 1, 0.0003, "More rows would help:"),
        ([(100, 1.0), (200, 1.0)], 1, 0.0, "More rows are unlikely to help much: accuracy gained"),
        ([(100, 0.0), (200, 1.0)], 1, 0.0, "More rows would help: accuracy gained"),
        (
            [(100, 0.5), (200, 0.4)],
            -1,
            None,
            "Unclear whether more rows would help: accuracy gained 0.1",
        ),
    ],
)
def test_the_last_gain_is_compared_with_its_standard_error(
    points: list[tuple[int, float]], sign: int, error: float | None, line: str
) -> None:
    output = more_rows(points, "accuracy", sign, error)
    assert output.startswith(line)
    assert "inf" not in output


SIZES = ("data=files", "data.max_train_rows=choice(20)", "optimizer.lr=1e-3", "search/sampler=grid")


def finish_with(session: Session, right: Sequence[float] | None) -> None:
    """Finish a trial that got these rows right; None keeps no score of each row."""
    attempt = begin(session)
    scores = None if right is None else RowScores("r", tuple(right))
    accuracy = 0.5 if right is None else sum(right) / len(right)
    session.ended(attempt, replace(outcome(accuracy), row_scores=scores))


def test_the_error_of_the_last_gain_is_paired(learnable: Path) -> None:
    study = study_of(learnable.parent, *SIZES, f"data.train={learnable}")
    session = join(study)
    few = [1.0] * 50 + [0.0] * 50
    finish_with(session, [1.0] * 58 + [0.0] * 42)  # the default, on all rows
    finish_with(session, few)
    # 8 of 100 rows are right that were wrong, none the other way: 2.9 errors, 1.1 if unpaired.
    *_, verdict = curve_lines(study, 84, 100)
    assert verdict == (
        "More rows would help: accuracy gained 0.0800 from 20 to 84 rows (2.9 standard errors)."
    )


def test_without_a_score_of_each_row_the_error_is_unpaired(learnable: Path) -> None:
    study = study_of(learnable.parent, *SIZES, f"data.train={learnable}")
    session = join(study)
    finish_with(session, None)
    finish_with(session, None)
    *_, verdict = curve_lines(study, 84, 100)
    assert verdict.endswith("(0.0 standard errors).")


@pytest.mark.thorough
def test_a_study_over_rows_keeps_its_validation_and_ends_with_a_curve(learnable: Path) -> None:
    words = ("experiment=learning_curve", "study=curve", "model=tiny", "strategy=full")
    words += ("strategy.lr=3e-3", "logger=none", "trainer.epochs=1", "search.workers=0")
    words += ("data=files", f"data.train={learnable}", "data.max_train_rows=choice(20,60)")
    output = run_here("sweep", *words, "search.num_trials=3")
    (at,) = [
        n for n, line in enumerate(output.splitlines()) if line.split()[:2] == ["rows", "accuracy"]
    ]
    table = [line.split() for line in output.splitlines()[at + 1 : at + 4]]
    # The default trains on all rows that are not in validation and test.
    assert [row[0] for row in table] == ["20", "60", "112"]
    assert all(set(row[2]) == {"#"} for row in table)
    assert output.splitlines()[at + 4].startswith("More rows ")
    # There are only three combinations.
    assert output.splitlines()[-1] == "  finesweep dashboard study=curve"
    status = json.loads(run_here("status", "study=curve", "--json"))
    assert status["states"]["complete"] == 3
    assert "accuracy" in run_here("evaluate", "study=curve", "split=test")


def test_a_note_names_sizes_that_use_all_rows(learnable: Path) -> None:
    words = ("experiment=learning_curve", "study=c", "model=tiny", "data=files")
    output = run_here("plan", *words, f"data.train={learnable}")
    note = "data.max_train_rows=200, 500, 1000, 2000, 5000 use all 112 rows, like trial 0"
    assert f"note    {note}\n" in output


@pytest.mark.parametrize(
    ("sizes", "notes"),
    [
        ("choice(20,60)", []),
        ("choice(20,60,112)", ["data.max_train_rows=112 uses all 112 rows, like trial 0"]),
        ("range(100,130,10)", ["data.max_train_rows=120 uses all 112 rows, like trial 0"]),
        ("60", []),
    ],
)
def test_no_note_if_the_default_is_a_subset(sizes: str, notes: list[str]) -> None:
    words = ("study=c", "model=tiny", "data=files", "data.train=x", f"data.max_train_rows={sizes}")
    assert list(size_notes(build_plan(compose("sweep", list(words))), 112)) == notes
