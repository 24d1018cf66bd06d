"""The Pareto front of a study with several objectives."""

from __future__ import annotations

from collections.abc import Iterator

from search.report.document.block import Block, Figure, Section, Table, Text
from search.report.document.chart import BEST, PLAIN, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.text import score, setting


def front(overview: Overview) -> Section | None:
    """Return the front; None with a single objective, or before a trial has finished."""
    if len(overview.objectives) < 2 or not overview.finished:
        return None
    return Section("front", "Pareto front", list(_blocks(overview)), is_brief=True)


def _blocks(overview: Overview) -> Iterator[Block]:
    names = [objective.short for objective in overview.objectives]
    whole = [trial for trial in overview.finished if trial.number in overview.front]
    on_it = overview.shown_of(whole)
    on = f"{len(whole):,} trials are on" if len(whole) != 1 else "1 trial is on"
    yield Text(f"{on} the front of {' and '.join(names)}: no trial is better in one without being "
               "worse in another.")  # fmt: skip
    if len(on_it) < len(whole):
        yield Text(f"So that this page stays small, {len(on_it):,} of them, evenly along the "
                   "front, are drawn and listed.", is_note=True)  # fmt: skip
    for at in range(1, len(names)):
        yield _chart(overview, at, on_it)
    paths = overview.space.paths
    rows = [
        [str(trial.number), *map(score, trial.objectives or ()),
         *(setting(trial.values, path) for path in paths)]
        for trial in sorted(on_it, key=lambda trial: trial.objectives or ())
    ]  # fmt: skip
    yield Table("The trials on the front", ["trial", *names, *paths], rows)


def _chart(overview: Overview, at: int, on_it: list[TrialView]) -> Figure:
    first, other = overview.objectives[0], overview.objectives[at]
    ordered = sorted(on_it, key=lambda trial: (trial.objectives or (0,) * 9)[at])
    others = [
        trial
        for trial in overview.shown_of(overview.finished)
        if trial.number not in overview.front
    ]

    def points(name: str, trials: list[TrialView], tone: str, symbol: str) -> Series:
        found = [trial.objectives for trial in trials if trial.objectives is not None]
        return Series(
            name,
            [values[at] for values in found],
            [values[0] for values in found],
            tone,
            [trial.number for trial in trials],
            symbol=symbol,
            is_line=tone == BEST and len(overview.objectives) == 2,
        )

    chart = Chart(
        title=f"{first.short} and {other.short}",
        alt=f"{len(overview.front)} of {len(overview.finished)} finished trials are on the front.",
        x=Axis(f"{other.short} ({other.direction})"),
        y=Axis(f"{first.short} ({first.direction})"),
        series=(
            points("finished", others, PLAIN, "circle"),
            points("front", ordered, BEST, "diamond"),
        ),
    )
    return Figure(chart, f"{first.short} against {other.short} of every finished trial.")
