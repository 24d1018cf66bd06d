"""Where in the search space the good trials are: parallel coordinates, slices and a contour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from search.report.document.block import Block, Figure, Section, Text
from search.report.document.chart import (
    BEST,
    DEFAULT,
    PALE,
    PLAIN,
    SHADES,
    Axis,
    Cells,
    Chart,
    Label,
    Series,
)
from search.report.document.scale import Scale, scale_of
from search.report.document.section.setting import SettingAxis, varying
from search.report.document.section.shade import shaded
from search.report.overview import Overview, TrialView
from search.report.text import score
from search.report.thin import evenly

MAX_SLICES = 8
MAX_LINES = 400
"""Lines of one kind in the parallel coordinates, evenly; more would be a blot."""
NUM_CELLS = 24
MIN_SMOOTHED = 12
"""Finished trials from which a surface is drawn between them."""


def space(overview: Overview) -> Section | None:
    """Return the search space; None before a trial has finished, or if nothing varied."""
    settings = varying(overview)
    if not overview.finished or not settings:
        return None
    return Section("space", "Search space", list(_blocks(overview, settings)))


def _blocks(overview: Overview, settings: Sequence[SettingAxis]) -> Iterator[Block]:
    yield _parallel(overview, settings)
    for each in settings[:MAX_SLICES]:
        yield _slice(overview, each)
    if len(settings) > MAX_SLICES:
        yield Text(
            f"{len(settings) - MAX_SLICES} more settings are in the table of trials.", is_note=True
        )
    ordered = [each for each in settings if each.is_ordered]
    if len(ordered) > 1:
        yield _contour(overview, ordered[0], ordered[1])


def _parallel(overview: Overview, settings: Sequence[SettingAxis]) -> Figure:
    metric = Axis(overview.metric)
    pruned = overview.shown_of(overview.pruned)
    trials = [*overview.shown_of(overview.finished), *pruned]
    positions = [each.position for each in settings]
    scales = [
        *(
            _scale(each.axis, [position(trial.values) for trial in trials])
            for each, position in zip(settings, positions, strict=True)
        ),
        _scale(metric, list(map(overview.score, trials))),
    ]

    def lines(name: str, tone: str, own: Sequence[TrialView], *, is_hidden: bool = False) -> Series:
        x: list[float | None] = []
        y: list[float | None] = []
        numbers: list[int | None] = []
        for trial in evenly(own, MAX_LINES):
            places = [*(each.position(trial.values) for each in settings), overview.score(trial)]
            for at, (scale, place) in enumerate(zip(scales, places, strict=True)):
                x.append(at)
                y.append(None if place is None else scale(place))
                numbers.append(trial.number)
            x.append(None)
            y.append(None)
            numbers.append(None)
        width = 3.0 if tone == BEST else 2.0 if tone == DEFAULT else 1.2
        return Series(name, x, y, tone, numbers, is_line=True, width=width,
                      is_dashed=tone == DEFAULT, is_hidden=is_hidden)  # fmt: skip

    special, groups = _special(overview), shaded(overview)
    labels = [
        Label(at, place, text)
        for at, scale in enumerate(scales)
        for place, text in _ends(scale.low, scale.high, scale.axis)
    ]
    chart = Chart(
        title="Parallel coordinates",
        alt=f"One line per trial over {len(settings)} settings to its {overview.metric}.",
        x=Axis("", names=(*(each.path for each in settings), overview.metric)),
        y=Axis("", names=()),
        series=(
            lines("pruned", PALE, pruned, is_hidden=True),
            *(lines(name, tone, own) for name, tone, own in groups),
            *(lines(name, tone, [trial]) for name, tone, trial in special),
        ),
        labels=tuple(labels),
        height=380,
        has_no_scale=True,
    )
    best = "stronger shades are better" if len(overview.finished) > 1 else "one trial"
    caption = f"Each line is a trial, from its settings to its score; {best}."
    if max(map(len, [pruned, *(own for _, _, own in groups)])) > MAX_LINES:
        caption += f" At most {MAX_LINES} lines of one shade are drawn, evenly."
    return Figure(chart, caption)


def _scale(axis: Axis, values: Sequence[float | None]) -> Scale:
    """Return the scale of an upright axis, from the lowest to the highest value."""
    scale = scale_of(axis, values, 0, 1)
    known = [value for value in values if value is not None and math.isfinite(value)]
    if axis.names or not known or min(known) == max(known):
        return scale
    return replace(scale, low=min(known), high=max(known))


def _ends(low: float, high: float, axis: Axis) -> Iterator[tuple[float, str]]:
    if axis.names:
        num = len(axis.names)
        yield from (((at + 0.5) / num, name) for at, name in enumerate(axis.names))
        return
    yield from ((0.0, f"{low:.3g}"), (1.0, f"{high:.3g}"))


def _special(overview: Overview) -> list[tuple[str, str, TrialView]]:
    """Return the default and the winner, each with its name and tone."""
    named = (("default", DEFAULT, overview.default), ("winner", BEST, overview.best))
    return [
        (name, tone, overview.trials[number])
        for name, tone, number in named
        if number is not None and (name == "winner" or number != overview.best)
    ]


def _points(
    overview: Overview,
    each: SettingAxis,
    other: SettingAxis | None,
    name: str,
    look: tuple[str, str],
    trials: Sequence[TrialView],
    *,
    is_hidden: bool = False,
) -> Series:
    tone, symbol = look
    return Series(
        name,
        [each.position(trial.values) for trial in trials],
        [overview.score(t) if other is None else other.position(t.values) for t in trials],
        tone,
        [trial.number for trial in trials],
        symbol=symbol,
        is_hidden=is_hidden,
    )


_LOOKS = {"default": (DEFAULT, "square"), "winner": (BEST, "diamond")}


def _slice(overview: Overview, each: SettingAxis) -> Figure:
    special = {trial.number for _, _, trial in _special(overview)}
    shown = overview.shown_of(overview.finished)
    plain = [trial for trial in shown if trial.number not in special]
    chart = Chart(
        title=f"{overview.metric} by {each.path}",
        alt=f"{len(overview.finished)} finished trials.",
        x=each.axis,
        y=Axis(overview.metric),
        series=(
            _points(overview, each, None, "pruned (last score)", (PALE, "x"),
                    overview.shown_of(overview.pruned), is_hidden=True),
            _points(overview, each, None, "finished", (PLAIN, "circle"), plain),
            *(
                _points(overview, each, None, name, _LOOKS[name], [trial])
                for name, _, trial in _special(overview)
            ),
        ),
        height=260,
        is_small=True,
    )  # fmt: skip
    return Figure(chart, "")


def _contour(overview: Overview, x: SettingAxis, y: SettingAxis) -> Figure:
    shown, pruned = (overview.shown_of(each) for each in (overview.finished, overview.pruned))
    both = [t for t in shown if x.path in t.values and y.path in t.values]
    cells = _surface(overview, x, y, both) if len(both) >= MIN_SMOOTHED else None
    looks = dict(zip(SHADES, ("circle",) * len(SHADES), strict=True))
    groups = shaded(overview)
    chart = Chart(
        title=f"{overview.metric} by {x.path} and {y.path}",
        alt=f"{len(both)} finished trials; stronger shades are better.",
        x=x.axis,
        y=y.axis,
        series=(
            _points(overview, x, y, "pruned", (PALE, "x"), pruned, is_hidden=True),
            *(
                _points(overview, x, y, name, (tone if cells is None else PLAIN, looks[tone]), own)
                for name, tone, own in (groups if cells is None else [("finished", "s0", both)])
            ),
            *(
                _points(overview, x, y, name, _LOOKS[name], [trial])
                for name, _, trial in _special(overview)
            ),
        ),
        cells=cells,
        height=400,
    )
    is_told = any(each.apart for each in overview.influences.arms)
    which = "The two most important settings" if is_told else "Two settings"
    how = "" if cells is None else "; between trials, the mean of those near by"
    worst, best = (score(value) for value in _range(overview, both))
    return Figure(chart, f"{which}; stronger shades are better, from {worst} to {best}{how}.")


def _range(overview: Overview, trials: Sequence[TrialView]) -> tuple[float, float]:
    sign = overview.objectives[0].sign
    values = sorted(sign * trial.objectives[0] for trial in trials if trial.objectives)
    return (sign * values[0], sign * values[-1]) if values else (math.nan, math.nan)


def _surface(
    overview: Overview, x: SettingAxis, y: SettingAxis, trials: Sequence[TrialView]
) -> Cells:
    """Return the scores between trials: means weighted by a Gaussian of a tenth of each axis."""
    xs = [x.position(trial.values) for trial in trials]
    ys = [y.position(trial.values) for trial in trials]
    across, up = scale_of(x.axis, xs, 0, 1), scale_of(y.axis, ys, 0, 1)
    places = [
        (across(a), up(b), overview.objectives[0].sign * trial.objectives[0])
        for a, b, trial in zip(xs, ys, trials, strict=True)
        if a is not None and b is not None and trial.objectives is not None
    ]
    centres = [(at + 0.5) / NUM_CELLS for at in range(NUM_CELLS)]
    rows = [[_near(places, a, b) for a in centres] for b in centres]
    known = [value for row in rows for value in row if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    step = (high - low) / len(SHADES) or 1.0
    top = len(SHADES) - 1
    return Cells(
        [across.value(centre) for centre in centres],
        [up.value(centre) for centre in centres],
        [[None if v is None else min(top, int((v - low) / step)) for v in row] for row in rows],
    )


def _near(places: Sequence[tuple[float, float, float]], x: float, y: float) -> float | None:
    weighted, weights = 0.0, 0.0
    for a, b, value in places:
        distance = ((a - x) ** 2 + (b - y) ** 2) / 0.01
        if distance < 9:
            weight = math.exp(-distance / 2)
            weighted, weights = weighted + weight * value, weights + weight
    return weighted / weights if weights > 0.05 else None
