"""The report's files: complete in every kind of study, closed to the network, and never fatal."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from search.cli import main
from search.report.document.block import Figure
from search.report.document.document import document_of
from search.report.document.section import space
from search.report.document.section.cost import cost
from search.report.document.section.verdict import headline
from search.report.document.write import write_files, written
from search.report.overview import overview_of
from search.study.pick import drop_trial
from search.study.study import Study
from search.trained.report import overview, write_report
from tests.conftest import run_here
from tests.search.certificate.test_certificate import certificate
from tests.search.report.synthetic import KINDS, study_of


class Page(HTMLParser):
    """What a page loads, runs and links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.policy = ""
        self._tag = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        values = dict(attrs)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag == "script" and values.get("type") != "application/json":
            self.scripts.append("")
            self._tag = "code"
        if tag not in ("meta", "link", "path", "rect", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            assert self._open.pop() == tag
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "code":
            self.scripts[-1] += data
        if self._tag == "h2":
            self.headings.append(data)


@pytest.fixture(params=KINDS)
def study(request: pytest.FixtureRequest, here: Path) -> Study:
    states, words = KINDS[request.param]
    budget = 8 if request.param == "running" else None
    return study_of(here, request.param, states, *words, num_trials=budget)


def test_every_kind_of_study_has_a_page_that_asks_for_nothing(study: Study) -> None:
    paths = {path.name: path for path in write_report(study)}
    html = paths["report.html"].read_text(encoding="utf-8")
    page = Page(html)
    assert page.headings[0] == "Verdict"
    assert {"Trials without a result", "Environment"} <= {*page.headings}
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "default-src 'none'" in page.policy
    for script in page.scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.policy
    assert len(page.scripts) == (2 if study.plan.name != "failed" else len(page.scripts))
    assert len(html.encode()) < 6_000_000
    assert study.plan.name in paths["report.md"].read_text(encoding="utf-8")
    assert ("best.yaml" in paths) is (study.best is not None)


def test_names_and_reasons_are_escaped(here: Path) -> None:
    study = study_of(here, "bad", ["complete", "complete", "fail"])
    document = document_of(overview_of(study, "finesweep train '</script><b>x</b>'"))
    html, brief = document.html(), document.markdown()
    assert "<b>no</b>" not in html and "&lt;b&gt;no&lt;/b&gt;" in html
    assert "</script><b>" not in html and "<script>alert" not in html
    assert "finesweep train '</script><b>x</b>'" in brief  # in a block of code


def test_half_a_character_is_marked_in_every_file(here: Path) -> None:
    study = study_of(here, "half", ["complete"])
    found = overview(study)
    (trial,) = found.trials
    halved = replace(found, trials=(replace(trial, reason="half \ud83d"),), guards=("\ud83d",))
    write_files(study.folder, halved)
    assert "half \ufffd" in (study.folder / "report.html").read_text(encoding="utf-8")
    assert "\ufffd" in (study.folder / "report.md").read_text(encoding="utf-8")


def test_a_large_study_shows_some_trials_and_says_which(here: Path) -> None:
    found = overview(study_of(here, "large", ["complete", "pruned", "complete"] * 20))
    assert not found.is_thinned and "are drawn" not in document_of(found).html()
    few = replace(found, max_shown=20)
    assert len(few.shown) == 20 and {few.best, few.default, 59} <= few.shown
    html = document_of(few).html()
    assert "20 of 60 trials are drawn." in html and "trials.csv has them all" in html
    table = html[html.index('<section id="trials"') :]
    assert table[: table.index("</section>")].count("<tr") == 21
    assert "60 of 60 trials ended" in html


def test_a_large_front_is_drawn_along_its_length_and_says_so(here: Path) -> None:
    words = ("search.objectives=[accuracy,seconds]",)
    found = overview(study_of(here, "front", ["complete"] * 60, *words))
    along = [(0.5 + number / 200, float(number)) for number in range(60)]
    trials = [replace(t, objectives=each) for t, each in zip(found.trials, along, strict=True)]
    ranked = tuple(reversed(range(60)))
    found = replace(found, trials=tuple(trials), front=frozenset(range(60)), ranked=ranked, best=59)
    whole = document_of(found)
    assert "60 trials are on the front" in whole.html() and "of them, evenly" not in whole.html()
    few = replace(found, max_shown=20)
    assert {0, 59, *ranked[:5]} <= few.shown and few.num_best == 5
    html = document_of(few).html()
    assert f"{len(few.shown)} of them, evenly along the front, are drawn and listed." in html
    assert (
        f"the best 5, {len(few.shown)} of the 60 on the front, {len(few.shown)} of the 60 that "
        "were the best so far, and others evenly"
    ) in html
    front = html[html.index('<section id="front"') :]
    table = front[front.index("<caption>The trials on the front") :]
    assert table[: table.index("</table>")].count("<tr") == 21


def test_short_trials_of_a_long_study_are_drawn_in_its_timeline(here: Path) -> None:
    found = overview(study_of(here, "long", ["complete"] * 3))
    first, second, last = found.trials
    assert last.started is not None and last.ended is not None
    days = timedelta(days=30)
    later = replace(last, started=last.started + days, ended=last.ended + days)
    section = cost(replace(found, trials=(first, second, later)))
    (chart,) = [each.chart for each in section.blocks if isinstance(each, Figure)]
    (series,) = chart.series
    spans = list(zip(series.x[::3], series.x[1::3], strict=True))
    assert len(spans) == 3
    assert all(low is not None and high is not None and low < high for low, high in spans)


def test_lines_that_are_left_out_of_the_parallel_coordinates_are_said(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = overview(study_of(here, "wide", ["complete"] * 12))
    assert "lines of one shade" not in document_of(found).html()
    monkeypatch.setattr(space, "MAX_LINES", 2)
    assert "At most 2 lines of one shade are drawn, evenly." in document_of(found).html()


@pytest.mark.thorough
def test_ten_thousand_trials_are_one_page_of_under_6_mb(here: Path) -> None:
    found = overview(study_of(here, "many", ["complete", "pruned", "complete"] * 20))
    trials = [replace(found.trials[n % 60], number=n) for n in range(10_000)]
    many = replace(found, trials=tuple(trials))
    started = time.perf_counter()
    page = document_of(many).html()
    assert time.perf_counter() - started < 60  # some 2 s on an idle core
    assert len(many.shown) == 2000 and len(page.encode()) < 6_000_000
    long = [replace(trial, reason="x" * 4000) for trial in trials]
    page = document_of(replace(many, trials=tuple(long))).html()
    assert len(page.encode()) < 6_000_000 and re.search("(500|250) of 10,000 trials", page)


def test_best_yaml_is_the_winners_configuration(here: Path) -> None:
    study = study_of(here, "twelve", KINDS["twelve"][0])
    write_report(study)
    config = yaml.safe_load((study.folder / "best.yaml").read_text())
    assert study.best is not None
    assert config["optimizer"]["lr"] == study.params_of(study.best)["optimizer.lr"]


def test_best_yaml_goes_with_the_last_winner(here: Path) -> None:
    study = study_of(here, "one", ["complete"])
    assert study.folder / "best.yaml" in write_report(study)
    drop_trial(study, 0)
    assert study.best is None
    assert study.folder / "best.yaml" not in write_report(study)
    assert not (study.folder / "best.yaml").exists()


def test_a_report_that_cannot_be_written_is_one_line(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = study_of(here, "one", ["complete"])
    (study.folder / "report.html").mkdir()
    files, reason = written(lambda: write_report(study))
    assert files == [] and reason is not None and caplog.text == ""
    assert reason.startswith("the report could not be written: ") and "\n" not in reason


def test_the_command_names_the_files(here: Path) -> None:
    study_of(here, "one", ["complete"])
    names = [Path(line).name for line in run_here("report", "study=one").splitlines()]
    assert names == ["report.html", "report.md", "card.png", "best.yaml"]


def test_the_verdict_stands_first_in_the_brief(here: Path) -> None:
    study = study_of(here, "twelve", KINDS["twelve"][0])
    brief = document_of(overview(study)).markdown()
    sentences = re.split(r"\n\n", brief)
    assert sentences[2] == "## Verdict"
    assert "distinguishable" in sentences[3] or "better" in sentences[3]
    assert "finesweep train" in brief


@pytest.mark.thorough
def test_a_thousand_trials_are_one_small_page(here: Path) -> None:
    study = study_of(here, "thousand", (["complete", "pruned", "complete"] * 334)[:1000])
    write_report(study)
    page = study.folder / "report.html"
    assert page.stat().st_size < 6_000_000
    assert Page(page.read_text(encoding="utf-8")).headings[0] == "Verdict"


def test_a_certificate_of_the_winner_is_the_verdict(here: Path) -> None:
    study = study_of(here, "s", KINDS["twelve"][0])
    best = study.best
    assert best is not None
    made = certificate(0.019)
    own = replace(made, first=replace(made.first, trial=best.number))
    study.store_certificates([own, replace(made, first=replace(made.first, trial=1))])
    found = overview(study)
    assert headline(found) == (
        f"Trial {best.number} is better than the default by 1.9 points (95 % interval 0.8 to 3.0)."
    )
    brief = document_of(found).markdown()
    assert "Trial 1 is better than the default" in brief and "Looks at the test rows: 6" in brief
    study.store_certificates([replace(made, first=replace(made.first, trial=1))])
    assert "distinguishable" in headline(overview(study))  # another trial has won since


def test_a_default_that_stays_the_best_says_by_what_rule(here: Path) -> None:
    study = study_of(here, "s", ["complete"] * 3)
    found = overview(study)
    own = replace(found, best=0, default=0)
    assert headline(own) == (
        "No trial was better than the default configuration by more than 2 standard errors of its "
        "Brier score."
    )
    made = certificate(0.019)  # of which the verdict is the headline
    first = replace(made.first, trial=0, is_default=True)
    certified = replace(own, certificates=(replace(made, first=first),), keeps_default=True)
    assert headline(own) in document_of(certified).markdown()
    assert headline(own) not in document_of(replace(certified, keeps_default=False)).markdown()
    plain = replace(own, is_cautious=False, chosen_by=())
    assert headline(plain) == "No trial was better in accuracy than the default configuration."
    alone = overview(study_of(here, "alone", ["complete", "fail"]))
    assert "nothing to compare it with" in headline(alone)
    pruned = overview(study_of(here, "pruned", ["complete", "pruned"]))
    assert headline(pruned).startswith("No trial was better")


def test_a_certificate_over_another_study_is_not_drawn_beside_the_gain_over_the_default(
    here: Path,
) -> None:
    study = study_of(here, "s", KINDS["twelve"][0])
    best = study.best
    assert best is not None
    made = certificate(0.019)
    own = replace(made, first=replace(made.first, trial=best.number))
    other = replace(own, second=replace(own.second, study="t"))
    study.store_certificates([other])
    html = document_of(overview(study)).html()
    assert "How much better than the default of study t" in html and "in the search:" not in html
    study.store_certificates([other, own])  # the study's own default comes first
    html = document_of(overview(study)).html()
    assert "How much better than the default" in html and "in the search:" in html


def test_the_command_says_in_one_line_that_a_file_cannot_be_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(here, "s", ["complete"])
    (study.folder / "card.png").mkdir()
    assert main(["report", "study=s"]) == 1
    assert capsys.readouterr().err.startswith("the report could not be written: ")
