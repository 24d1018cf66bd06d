"""Draw a chart as SVG: for paper, without JavaScript, and until the interactive one is drawn.

Nothing but text is written, without matplotlib: a chart takes about a millisecond. Colours are
classes, which the page's style fills in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from search.report.document.chart import DARK, Axis, Cells, Chart, Series
from search.report.document.scale import Scale, scale_of

WIDTH, SMALL_WIDTH = 720, 360
SIZE = 4.5  # half the width of a mark
_TOP, _RIGHT, _BOTTOM = 10, 14, 44
_CHARACTER = 6.6  # pixels of width
_MAX_NAME = 22  # characters of a name at an axis


def draw(chart: Chart) -> str:
    """Return the chart as an `svg` element that a screen reader reads as one image."""
    width = SMALL_WIDTH if chart.is_small else WIDTH
    shown = [series for series in chart.series if not series.is_hidden]
    ys = [*(y for each in shown for y in each.y), *_ends(chart.cells, "y")]
    xs = [*(x for each in shown for x in each.x), *_ends(chart.cells, "x")]
    y = scale_of(chart.y, ys, chart.height - _BOTTOM, _TOP)
    names = [] if chart.has_no_scale else [_cut(name) for _, name in y.ticks()]
    left = 30 + _CHARACTER * max(map(len, names), default=0)
    x = scale_of(chart.x, xs, left, width - _RIGHT)
    parts = [
        *_grid(x, y, chart.height, has_no_scale=chart.has_no_scale),
        *(_cells(chart.cells, x, y) if chart.cells is not None else ()),
        *(part for each in shown for part in _series(each, x, y)),
        *(_text(x(each.x), y(each.y), each.text, "label") for each in chart.labels),
    ]
    alt = escape(f"{chart.title}. {chart.alt}")
    return (
        f'<svg viewBox="0 0 {width} {chart.height}" role="img" aria-label="{alt}" '
        f'class="{"small" if chart.is_small else "wide"}">{"".join(parts)}</svg>'
    )


def legend_mark(series: Series) -> str:
    """Return a sample of a series' line and mark, for a legend."""
    axis = Axis("")
    x, y = Scale(axis, 0, 2, 0, 26), Scale(axis, 0, 2, 0, 14)
    sample = Series(
        "",
        [0.2, 1, 1.8],
        [1, 1, 1],
        series.tone,
        is_line=True,
        is_dashed=series.is_dashed,
        width=min(series.width, 8),
    )
    dot = Series("", [1], [1], series.tone, symbol=series.symbol)
    parts = [*(_series(sample, x, y) if series.is_line else ()), *_series(dot, x, y)]
    return f'<svg viewBox="0 0 26 14" class="mark" aria-hidden="true">{"".join(parts)}</svg>'


def _ends(cells: Cells | None, name: str) -> Sequence[float]:
    if cells is None:
        return ()
    values = cells.x if name == "x" else cells.y
    return (values[0], values[-1])


def _grid(x: Scale, y: Scale, height: int, *, has_no_scale: bool) -> Iterator[str]:
    bottom = height - _BOTTOM
    for value, name in () if has_no_scale else y.ticks():
        at = y(value)
        if not y.axis.names:
            yield f'<path class="grid" d="M{x.start:.1f} {at:.1f}H{x.end:.1f}"/>'
        yield _text(x.start - 6, at + 4, _cut(name), "end")
    ticks, last = x.ticks(), -math.inf
    space = (x.end - x.start) / max(1, len(ticks)) / _CHARACTER
    for value, name in ticks:
        at, text = x(value), _cut(name, max(4, int(space)) if x.axis.names else _MAX_NAME)
        if x.axis.names:
            yield f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>'
        half = _CHARACTER * len(text) / 2
        if at - half > last:
            yield _text(at, bottom + 16, text, "middle")
            last = at + half + 4
    middle = (x.start + x.end) / 2
    yield f'<path class="axis" d="M{x.start:.1f} {_TOP}V{bottom}H{x.end:.1f}"/>'
    yield _text(middle, height - 8, x.axis.title, "middle")
    at = (_TOP + bottom) / 2
    turned = f'transform="rotate(-90 12 {at:.1f})"'
    yield f'<text x="12" y="{at:.1f}" class="middle" {turned}>{escape(y.axis.title)}</text>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _series(series: Series, x: Scale, y: Scale) -> Iterator[str]:
    places = [
        None if a is None or b is None or not math.isfinite(a + b) else (x(a), y(b))
        for a, b in zip(series.x, series.y, strict=True)
    ]
    if series.is_line:
        path = "".join(_moves(places))
        pale = "" if series.opacity == 1 else f";opacity:{series.opacity:g}"
        style = f'style="stroke-width:{series.width:g}{pale}"'
        dashed = " dashed" if series.is_dashed else ""
        yield f'<path class="line {series.tone}{dashed}" {style} d="{path}"/>'
    if series.symbol is not None:
        path = "".join(_mark(series.symbol, *place) for place in places if place is not None)
        yield f'<path class="dot {series.tone} {series.symbol}" d="{path}"/>'


def _moves(places: Sequence[tuple[float, float] | None]) -> Iterator[str]:
    is_open = False
    for place in places:
        if place is not None:
            yield f"{'L' if is_open else 'M'}{place[0]:.1f} {place[1]:.1f}"
        is_open = place is not None


_MARKS = {
    "circle": "M{l} {y}a{s} {s} 0 1 0 {d} 0a{s} {s} 0 1 0 -{d} 0",
    "square": "M{l} {t}h{d}v{d}h-{d}z",
    "diamond": "M{l} {y}L{x} {t}L{r} {y}L{x} {b}z",
    "triangle-up": "M{l} {b}L{x} {t}L{r} {b}z",
    "triangle-down": "M{l} {t}L{x} {b}L{r} {t}z",
    "cross": "M{l} {y}H{r}M{x} {t}V{b}",
    "x": "M{l} {t}L{r} {b}M{l} {b}L{r} {t}",
}


def _mark(symbol: str, x: float, y: float) -> str:
    ends = {"l": x - SIZE, "r": x + SIZE, "t": y - SIZE, "b": y + SIZE, "x": x, "y": y}
    rounded = {name: f"{value:.1f}" for name, value in ends.items()}
    return _MARKS[symbol].format(**rounded, s=SIZE, d=2 * SIZE)


def _cells(cells: Cells, x: Scale, y: Scale) -> Iterator[str]:
    lefts, tops = _edges(cells.x, x), _edges(cells.y, y)
    for j, row in enumerate(cells.shades):
        for i, shade in enumerate(row):
            left, right = sorted((lefts[i], lefts[i + 1]))
            top, bottom = sorted((tops[j], tops[j + 1]))
            if shade is not None:
                size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
                yield f'<rect x="{left:.1f}" y="{top:.1f}" {size} class="cell s{shade}"/>'
            if cells.texts:
                kind = "" if shade is None else " on-high" if shade >= DARK else " on-low"
                middle = (left + right) / 2, (top + bottom) / 2 + 4
                yield _text(*middle, cells.texts[j][i], f"middle{kind}")


def _edges(centres: Sequence[float], scale: Scale) -> list[float]:
    """Return the pixels between cells of equal size, one more than there are cells."""
    pixels = [scale(each) for each in centres]
    half = (pixels[-1] - pixels[0]) / (len(pixels) - 1) / 2 if len(pixels) > 1 else SIZE
    low, high = sorted((scale.start, scale.end))
    edges = [pixels[0] - half, *(pixel + half for pixel in pixels)]
    return [min(max(edge, low), high) for edge in edges]


def _cut(name: str, most: int = _MAX_NAME) -> str:
    """Return a name in one line of at most `most` characters.

    >>> _cut("feature_extraction", 10)
    'feature_e…'
    """
    line = " ".join(name.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
