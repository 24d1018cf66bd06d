"""A study's report: its sections in their order, and the files made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.certificate.certificate import Verdict
from search.report.document.block import Block, Figure, Section
from search.report.document.card import card
from search.report.document.html import frame, page
from search.report.document.markdown import markdown
from search.report.document.section.arm import arms
from search.report.document.section.cost import cost
from search.report.document.section.curves import curves
from search.report.document.section.data import data
from search.report.document.section.environment import environment
from search.report.document.section.example import examples
from search.report.document.section.failure import failures
from search.report.document.section.front import front
from search.report.document.section.history import history
from search.report.document.section.importance import importances
from search.report.document.section.space import space
from search.report.document.section.trial import trials
from search.report.document.section.verdict import verdict
from search.report.document.section.winner import winner
from search.report.overview import Overview, TrialView
from search.report.text import score, setting

MAX_SETTINGS = 12  # of a trial, in its description
MAX_BYTES = 6_000_000
"""A page that would be larger shows fewer trials."""
MIN_SHOWN = 10


@dataclass(frozen=True)
class Document:
    """A report of one study.

    Attributes:
        overview: What it says.
        sections: How it says it.

    """

    overview: Overview
    sections: tuple[Section, ...]

    def html(self, seconds: int | None = None) -> str:
        """Return it as a page, which a browser loads again after some seconds if they are given."""
        overview = self.overview
        shown = {t.number: describe(overview, t) for t in overview.shown_of(overview.trials)}
        colour = tone(overview)
        text = page(self._title, self._subtitle, self.sections, shown, colour, seconds=seconds)
        num = min(overview.max_shown, len(overview.trials)) // 2
        if len(text.encode()) <= MAX_BYTES or num < MIN_SHOWN:
            return text
        return document_of(replace(overview, max_shown=num)).html(seconds)

    def markdown(self) -> str:
        """Return the brief sections as Markdown."""
        return markdown(self._title, self._subtitle, self.sections)

    def card(self) -> bytes:
        """Return the verdict as a picture, as PNG."""
        return card(self.overview, tone(self.overview))

    def frame(self) -> str:
        """Return it for a cell of a notebook, with charts that do not move."""
        content = page(
            self._title, self._subtitle, self.sections, tone=tone(self.overview), is_static=True
        )
        return frame(content, self._title)

    @property
    def _title(self) -> str:
        return f"Study {self.overview.name}"

    @property
    def _subtitle(self) -> str:
        now = self.overview.now
        state = "" if self.overview.is_over else ", not over yet"
        return f"{now.num_ended} of {now.num_trials} trials ended{state}"


def document_of(overview: Overview) -> Document:
    """Return the report of a study."""
    made = (
        verdict(overview),
        winner(overview),
        front(overview),
        arms(overview),
        cost(overview),
        history(overview),
        curves(overview),
        importances(overview),
        space(overview),
        examples(overview),
        data(overview),
        failures(overview),
        trials(overview),
        environment(overview),
    )
    sections = (section for section in made if section is not None)
    return Document(overview, tuple(_noted(overview, section) for section in sections))


def _noted(overview: Overview, section: Section) -> Section:
    """Return the section, whose charts of trials say so if they do not draw all of them."""
    if not overview.is_thinned:
        return section
    note = f"{len(overview.shown):,} of {len(overview.trials):,} trials are drawn."

    def noted(block: Block) -> Block:
        if isinstance(block, Figure) and any(series.trials for series in block.chart.series):
            return replace(block, caption=f"{block.caption} {note}".strip())
        return block

    return replace(section, blocks=[noted(block) for block in section.blocks])


def tone(overview: Overview) -> str:
    """Return whether the winner is `better` than the default, `worse`, or `unsure`."""
    certificate, gain = overview.certificate, overview.gain
    if certificate is not None:
        names = {Verdict.better: "better", Verdict.worse: "worse"}
        return names.get(certificate.verdict, "unsure")
    if gain is None or not gain.is_clear:
        return "unsure"
    return "better" if gain.value > 0 else "worse"


def describe(overview: Overview, trial: TrialView) -> str:
    """Return a trial in a few lines, for the pointer."""
    names = {overview.best: "winner", overview.default: "default"}
    name = names.get(trial.number, trial.state)
    lines = [f"trial {trial.number}, {name}"]
    value = overview.score(trial)
    if value is not None:
        lines.append(f"{overview.metric} {score(value)}")
    lines += _settings(trial)
    return "\n".join(lines)


def _settings(trial: TrialView) -> Sequence[str]:
    paths = list(trial.values)
    lines = [f"{path} = {setting(trial.values, path)}" for path in paths[:MAX_SETTINGS]]
    return lines if len(paths) <= MAX_SETTINGS else [*lines, "…"]
