from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import Ending
from search.cli import main
from search.report.guard import guard_lines
from search.report.results import rows, status, write_table
from search.study.session import join
from search.study.study import Study
from search.terminal.summary import summary
from tests.search.study.conftest import GUARD, begin, guarded, outcome, study_of


def trained(root: Path, *scores: tuple[float, float]) -> Study:
    """Return a study whose trials ended with these accuracies and losses on the guard."""
    session = join(study_of(root, GUARD, f"search.num_trials={len(scores) + 1}"))
    for accuracy, loss in scores:
        session.ended(begin(session), guarded(accuracy, loss))
    return session.study


def test_the_best_keeps_the_guard_and_who_breaks_it_is_said(here: Path) -> None:
    study = trained(here, (0.6, 0.6), (0.7, 0.45), (0.9, 0.9))
    assert list(guard_lines(study)) == [
        "2 of 3 finished trials break a guard and cannot be the best.",
        "Trial 1, guard old: loss 0.4500 (at most 0.5, untouched 0.4000): kept.",
        "The default configuration, trial 0, breaks guard old too.",
    ]
    text = "\n".join(summary(study, (), None, (600, 200)))
    assert "2 of 3 finished trials break a guard" in text and "best, trial 1" in text


@pytest.mark.parametrize(
    ("finishes", "line"),
    [
        (True, "Every finished trial breaks a guard, so the default is kept."),
        (False, "Every finished trial breaks a guard, so nothing is chosen."),
    ],
)
def test_if_none_keeps_it_one_line_says_so(here: Path, finishes: bool, line: str) -> None:
    session = join(study_of(here, GUARD, "search.num_trials=2"))
    first = guarded(0.6, 0.6) if finishes else outcome(0.6, ending=Ending.diverged)
    for each in (first, guarded(0.9, 0.9)):
        session.ended(begin(session), each)
    assert next(iter(guard_lines(session.study))) == line
    assert line in summary(session.study, (), None, (600, 200))
    assert (status(session.study)["best"] is None) is not finishes


def test_the_table_and_the_status_have_the_values(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = trained(here, (0.6, 0.6), (0.7, 0.45))
    write_table(study)
    with (study.folder / "trials.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["guard/old"], first["breaks"], first["best"]) == ("0.6", "old", "False")
    assert (second["guard/old"], second["breaks"], second["best"]) == ("0.45", "", "True")
    assert first["reason"] == "breaks guard old; to its end"
    assert main(["status", "study=s", "--json"]) == 0
    (guard,) = json.loads(capsys.readouterr().out)["guards"]
    assert guard == {
        "name": "old",
        "metric": "loss",
        "bound": "at most 0.5",
        "untouched": 0.4,
        "limit": 0.5,
        "best": 0.45,
        "default": 0.6,
        "num_measured": 2,
        "num_broken": 1,
    }
    assert main(["status", "study=s"]) == 0
    assert "1 of 2 finished trials breaks a guard" in capsys.readouterr().out


def test_a_study_without_guards_says_nothing(here: Path) -> None:
    session = join(study_of(here, "search.num_trials=1"))
    session.ended(begin(session), replace(outcome(0.7), guards=()))
    assert list(guard_lines(session.study)) == []
    assert status(session.study)["guards"] == []
    assert not any(name.startswith(("guard", "breaks")) for name in rows(session.study)[0])
