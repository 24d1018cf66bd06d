"""The scores of the trials in the order of their numbers, and the best so far."""

from __future__ import annotations

from search.report.document.block import Figure, Section
from search.report.document.chart import BEST, DEFAULT, PALE, PLAIN, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.text import score


def history(overview: Overview) -> Section | None:
    """Return the history; None before a trial has finished."""
    finished = overview.shown_of(overview.finished)
    if not finished:
        return None
    sign = overview.objectives[0].sign
    so_far = [overview.best_so_far[trial.number] for trial in finished]
    best, default = overview.winner, overview.default
    special = [trial for trial in finished if trial.number in (overview.best, default)]
    plain = [trial for trial in finished if trial not in special]
    chart = Chart(
        title="Score of each trial",
        alt=_alt(overview, so_far),
        x=Axis("trial"),
        y=Axis(overview.metric),
        series=(
            _points(overview, "pruned (last score)", overview.shown_of(overview.pruned), PALE,
                    "x", is_hidden=True),
            Series(
                "best so far",
                [float(trial.number) for trial in finished],
                so_far,
                PLAIN,
                is_line=True,
                is_dashed=True,
                width=1.5,
            ),
            _points(overview, "finished", plain, PLAIN, "circle"),
            _points(overview, "default", [t for t in special if t is not best], DEFAULT, "square"),
            _points(overview, "winner", [t for t in special if t is best], BEST, "diamond"),
        ),
    )  # fmt: skip
    more = "more is better" if sign == 1 else "less is better"
    caption = f"{overview.metric} of each finished trial; {more}."
    return Section("history", "History", [Figure(chart, caption)])


def _points(
    overview: Overview,
    name: str,
    trials: list[TrialView],
    tone: str,
    symbol: str,
    *,
    is_hidden: bool = False,
) -> Series:
    return Series(
        name,
        [float(trial.number) for trial in trials],
        [overview.score(trial) for trial in trials],
        tone,
        trials=[trial.number for trial in trials],
        symbol=symbol,
        is_hidden=is_hidden,
    )


def _alt(overview: Overview, so_far: list[float]) -> str:
    first, last = score(so_far[0]), score(so_far[-1])
    return f"{len(overview.finished)} finished trials; the best so far went from {first} to {last}."
