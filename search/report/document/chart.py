"""A chart as values: `svg` draws it for paper and without JavaScript, `plotly` interactively.

Lines, bars, spans and intervals are all polylines of some width with gaps, so there is one kind of
series. A colour is named by its role (`tone`), and the page's style gives it one in light and in
dark; series also differ in symbol or stroke, for any colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TONES = ("t1", "t2", "t3", "t4", "t5", "t6", "t7")
"""Okabe and Ito's colours, distinct for any colour vision: of arms, workers, classes."""
SHADES = ("s0", "s1", "s2", "s3", "s4")
"""From low to high, by lightness alone."""
DARK = 3
"""The shades from this one on need the other colour of text on them."""
BEST, DEFAULT, PLAIN, PALE = "best", "default", "plain", "pale"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        title: What it shows, with the unit.
        is_log: Whether it is logarithmic; then all values are > 0.
        names: The names of positions 0, 1, ... of an axis that has no numbers.
        has_margin: Whether a line ends before the edge, where its end means something.

    """

    title: str
    is_log: bool = False
    names: tuple[str, ...] = ()
    has_margin: bool = False


@dataclass(frozen=True)
class Series:
    """Points, or a polyline, with one name in the legend.

    Attributes:
        name: Its name; "" keeps it out of the legend.
        x: Positions; None is a gap in a line.
        y: Positions, as many.
        tone: The role of its colour.
        trials: The trial of each position, whose description the pointer shows; or none at all.
        texts: What the pointer shows in place of that, per position.
        is_line: Whether the positions are joined.
        symbol: The mark at each position; None draws none.
        is_dashed: Whether the line is dashed.
        width: Width of the line in pixels.
        opacity: From 0 to 1; less where many lines lie on one another.
        is_hidden: Whether it is shown only once the reader asks for it.

    """

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    tone: str
    trials: Sequence[int | None] = ()
    texts: Sequence[str] = ()
    is_line: bool = False
    symbol: str | None = None
    is_dashed: bool = False
    width: float = 2
    opacity: float = 1
    is_hidden: bool = False


@dataclass(frozen=True)
class Cells:
    """A coloured grid behind the series.

    Attributes:
        x: The centres of the columns; equally spaced, on a logarithmic axis by ratio.
        y: The centres of the rows.
        shades: One list per row: the index of a shade, or None.
        texts: What is written into each cell; or nothing.

    """

    x: Sequence[float]
    y: Sequence[float]
    shades: Sequence[Sequence[int | None]]
    texts: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Label:
    """A short text at a position."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows, in a few words.
        alt: What a reader who cannot see it should know.
        x: The horizontal axis.
        y: The vertical axis.
        series: What is drawn, the last on top.
        cells: A grid behind it.
        labels: Texts in it.
        height: Height in pixels; the width is the page's.
        is_small: Whether two fit side by side on a wide page.
        has_no_scale: Whether the vertical axis has no numbers, because its labels say them.

    """

    title: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    cells: Cells | None = None
    labels: tuple[Label, ...] = ()
    height: int = 340
    is_small: bool = False
    has_no_scale: bool = False
