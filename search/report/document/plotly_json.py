"""Charts for Plotly, as the values that the page's script hands to it.

Colours stay roles: the script looks them up in the page's style, in light and in dark, and fills in
the description of each trial, which the page holds once. Plotly reads some markup in its texts, so
every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from search.report.document.chart import DARK, SHADES, Axis, Cells, Chart, Label, Series
from search.report.document.scale import scale_of

_SYMBOLS = {"cross": "cross-thin-open", "x": "x-thin-open"}


def plotly(chart: Chart) -> dict[str, Any]:
    """Return a chart's traces and layout."""
    traces = [*(_cells(chart.cells) if chart.cells is not None else ()), *map(_trace, chart.series)]
    return {
        "traces": traces,
        "layout": {
            "xaxis": _axis(chart.x, [(each, each.x) for each in chart.series]),
            "yaxis": _axis(chart.y, [(each, each.y) for each in chart.series])
            | ({"visible": False} if chart.has_no_scale else {}),
            "height": chart.height,
            "annotations": [
                *(_annotation(each, "ink") for each in chart.labels),
                *(_written(chart.cells) if chart.cells is not None else ()),
            ],
        },
    }


def _axis(axis: Axis, series: Sequence[tuple[Series, Sequence[float | None]]]) -> dict[str, Any]:
    """Return an axis; `series` has the positions of each on it."""
    values: dict[str, Any] = {"title": {"text": escape(axis.title)}, "automargin": True}
    shown = [place for _, places in series for place in places]
    if axis.is_log:
        ticks = scale_of(axis, shown, 0, 1).ticks()
        values |= {"type": "log", "tickvals": [value for value, _ in ticks]}
        values["ticktext"] = [name for _, name in ticks]
    seen = {place for each, places in series if not each.is_hidden for place in places} - {None}
    # Plotly leaves no margin beside lines, and a unit on both sides of a single value.
    if axis.has_margin or (len(seen) == 1 and not axis.is_log):
        scale = scale_of(axis, shown, 0, 1)
        values["range"] = [scale.low, scale.high]
    if axis.names:
        values |= {
            "tickvals": list(range(len(axis.names))),
            "ticktext": [escape(" ".join(name.split())) for name in axis.names],
            "range": [-0.5, len(axis.names) - 0.5],
        }
    return values


def _trace(series: Series) -> dict[str, Any]:
    mode = "+".join(("lines",) * series.is_line + ("markers",) * (series.symbol is not None))
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": mode or "none",
        "name": escape(series.name),
        "x": list(map(_finite, series.x)),
        "y": list(map(_finite, series.y)),
        "tone": series.tone,
        "visible": not series.is_hidden,
        "opacity": series.opacity,
        "hoverinfo": "text" if series.trials or series.texts else "skip",
    }
    if series.is_line:
        dash = "dash" if series.is_dashed else "solid"
        # Simplified, short spans would vanish.
        trace["line"] = {"width": series.width, "dash": dash, "simplify": False}
    if series.symbol is not None:
        trace["marker"] = {"symbol": _SYMBOLS.get(series.symbol, series.symbol), "size": 8}
    if series.trials:
        trace["trials"] = list(series.trials)
    elif series.texts:
        trace["text"] = [escape(text) for text in series.texts]
    return trace


def _cells(cells: Cells) -> Iterator[dict[str, Any]]:
    yield {
        "type": "heatmap",
        "x": list(cells.x),
        "y": list(cells.y),
        "z": [list(row) for row in cells.shades],
        "zmin": -0.5,
        "zmax": len(SHADES) - 0.5,
        "shades": list(SHADES),
        "showscale": False,
        "hoverinfo": "skip",
    }


def _written(cells: Cells) -> Iterator[dict[str, Any]]:
    for y, row, shades in zip(cells.y, cells.texts, cells.shades, strict=False):
        for x, text, shade in zip(cells.x, row, shades, strict=True):
            tone = "ink" if shade is None else "on-high" if shade >= DARK else "on-low"
            yield _annotation(Label(x, y, text), tone)


def _annotation(label: Label, tone: str) -> dict[str, Any]:
    place = {"x": label.x, "y": label.y}
    return {**place, "text": escape(label.text), "showarrow": False, "tone": tone}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
