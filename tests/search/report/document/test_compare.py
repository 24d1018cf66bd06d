"""Studies side by side: the interval of the difference, and what cannot be compared."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.outcome import RowScores
from search.cli import main, report
from search.report.document.compare import comparison, difference
from search.report.overview import overview_of
from tests.conftest import run_here, wait_until
from tests.search.certificate.test_certificate import certificate
from tests.search.report.synthetic import study_of


def test_the_difference_is_paired_on_the_same_rows_and_wider_on_others(here: Path) -> None:
    one = overview_of(study_of(here, "one", ["complete"] * 3, best=0.9))
    other = overview_of(study_of(here, "other", ["complete"] * 3, best=0.7))
    right = tuple([1.0] * 160 + [0.0] * 40)
    worse = tuple([1.0] * 140 + [0.0] * 60)
    one = replace(one, row_scores=RowScores("rows", right))
    paired = difference(one, replace(other, row_scores=RowScores("rows", worse)))
    apart = difference(one, replace(other, row_scores=RowScores("others", worse)))
    assert paired is not None and apart is not None
    assert paired.value == apart.value == pytest.approx(0.2, abs=0.05)
    assert None not in (paired.low, paired.high, apart.low, apart.high)
    # sqrt(0.1 * 0.9 / 199) and sqrt((0.16 + 0.21) / 199), times Student's quantiles
    assert paired.value - (paired.low or 0) == pytest.approx(1.972 * 0.02127, abs=1e-4)
    assert apart.value - (apart.low or 0) == pytest.approx(1.966 * 0.04312, abs=1e-4)


def test_the_page_compares_the_winners(here: Path) -> None:
    overviews = [
        overview_of(study_of(here, name, ["complete"] * 3, best=best))
        for name, best in (("low", 0.6), ("high", 0.9))
    ]
    html, brief = comparison(overviews)
    assert "The winner of high is" in brief and "than the winner of low" in brief
    assert html.count("<svg") > 1 and "Best so far" in html


def test_the_command_compares_or_says_why_not(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_of(here, "one", ["complete"])
    study_of(here, "two", ["complete"])
    study_of(here, "loss", ["complete"], "search.metric=log_loss")
    assert run_here("report", "study=one,two").split() == [
        "report-one-two.html",
        "report-one-two.md",
    ]
    capsys.readouterr()
    assert main(["report", "study=one,loss"]) == 2
    assert "must have the same first objective, got one: maximize validation/accuracy" in (
        capsys.readouterr().err
    )
    assert main(["report", "study=one,two", "--watch"]) == 2
    for names in ("one,one", "one,"):
        assert main(["report", f"study={names}"]) == 2
        assert "must be names of studies, each once" in capsys.readouterr().err


def test_only_a_certificate_of_both_winners_stands_for_them(here: Path) -> None:
    one, other = (overview_of(study_of(here, name, ["complete"] * 3)) for name in ("s", "t"))
    made = certificate(0.019)

    def certified(trial: int | None) -> str:
        assert trial is not None and other.best is not None
        first = replace(made.first, trial=trial)
        second = replace(made.second, study="t", trial=other.best)
        found = replace(made, first=first, second=second)
        return comparison([replace(one, certificates=(found,)), other])[1]

    assert "by 1.9 points" in certified(one.best)
    assert "by 1.9 points" not in certified(next(n for n in one.ranked if n != one.best))


def test_watching_follows_a_running_study_until_it_is_over(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SECONDS", 0.05)
    study = study_of(here, "one", ["complete", "running", "waiting"])
    page = study.folder / "report.html"
    page.mkdir()  # as on a full disk, it cannot be written at first
    codes: list[int] = []
    command = threading.Thread(
        target=lambda: codes.append(main(["report", "study=one", "--watch"])), daemon=True
    )
    command.start()
    said: list[str] = []

    def is_refused() -> bool:
        said.append(capsys.readouterr().err)
        return "could not be written" in "".join(said)

    wait_until(is_refused, "a line about the page")
    page.rmdir()
    wait_until(page.is_file, "the page")
    assert 'http-equiv="refresh"' in page.read_text() and codes == []
    study.ask_to_stop(True)
    command.join()
    said.append(capsys.readouterr().err)
    text = "".join(said)
    assert codes == [0] and "report.html: 1 of 3 trials" in text and "Traceback" not in text
    assert 'http-equiv="refresh"' not in page.read_text()


def test_watching_a_study_that_is_over_writes_it_once(here: Path) -> None:
    study = study_of(here, "one", ["complete"])
    assert "report.html" in run_here("report", "study=one", "--watch")
    assert 'http-equiv="refresh"' not in (study.folder / "report.html").read_text()
