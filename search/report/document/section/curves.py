"""The learning curves of all trials, the pruned ones pale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from search.report.document.block import Block, Figure, Section
from search.report.document.chart import BEST, DEFAULT, PALE, PLAIN, Axis, Chart, Series
from search.report.overview import Overview, TrialView
from search.report.thin import evenly
from search.storage.curve import StoredPoint

MAX_POINTS = 12_000
"""Points of all curves together; longer curves are thinned evenly, their ends kept."""
MANY = 60
"""Curves of one kind from which they are drawn faintly."""

Value = Callable[[StoredPoint], float | None]


def curves(overview: Overview) -> Section | None:
    """Return the learning curves; None before a trial has been validated."""
    if not any(trial.curve for trial in overview.trials):
        return None
    return Section("curves", "Learning curves", list(_figures(overview)))


def _figures(overview: Overview) -> Iterator[Block]:
    metric = overview.metric
    yield _figure(overview, metric, lambda point: point.metrics.get(metric))
    if any(math.isfinite(point.validation_loss) for t in overview.trials for point in t.curve):
        yield _figure(overview, "validation loss", lambda point: point.validation_loss)


def _figure(overview: Overview, title: str, value: Value) -> Figure:
    shown = overview.shown_of(overview.trials)
    most = max(2, MAX_POINTS // max(1, len(shown)))
    groups: dict[str, list[TrialView]] = {"pruned": [], "other": [], "default": [], "winner": []}
    for trial in shown:
        groups[_group(overview, trial)].append(trial)
    looks = {
        "pruned": ("pruned, diverged or failed", PALE, 1.0),
        "other": ("finished or running", PLAIN, 1.2),
        "default": ("default", DEFAULT, 2.5),
        "winner": ("winner", BEST, 3.0),
    }
    series = [
        _curves(*looks[name], trials, value, most) for name, trials in groups.items() if trials
    ]
    chart = Chart(
        title=f"{title.capitalize()} during training",
        alt=f"{len(shown)} curves, of which {len(groups['pruned'])} ended early.",
        x=Axis("step" if overview.is_asked else "epoch"),
        y=Axis(title),
        series=tuple(series),
    )
    return Figure(chart, f"{title} at every validation; trials that ended early are pale.")


def _group(overview: Overview, trial: TrialView) -> str:
    if trial.number == overview.best:
        return "winner"
    if trial.number == overview.default:
        return "default"
    return "pruned" if trial.state in ("pruned", "fail") else "other"


def _curves(
    name: str, tone: str, width: float, trials: Sequence[TrialView], value: Value, most: int
) -> Series:
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        points = evenly(trial.curve, most)
        x += [*(point.epoch for point in points), None]
        y += [*map(value, points), None]
        numbers += [trial.number] * len(points) + [None]
    dashed = tone == DEFAULT
    # A curve of one point would be no line.
    symbol = "circle" if all(len(trial.curve) < 2 for trial in trials) else None
    return Series(
        name,
        x,
        y,
        tone,
        numbers,
        is_line=True,
        width=width,
        is_dashed=dashed,
        symbol=symbol,
        # The lines of one series do not add up, but they must not hide the winner's.
        opacity=0.4 if len(trials) > MANY else 1,
    )
