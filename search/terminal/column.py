"""The columns of a study's table: each value of a trial is a cell; widths follow the space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len, set_cell_size

from search.report.snapshot import Snapshot, TrialRow
from search.report.text import duration, number, rough, score, short_names
from search.terminal.glyph import Glyphs, printable

STATE_STYLES = {
    "complete": "green",
    "pruned": "yellow",
    "fail": "red",
    "running": "cyan",
    "waiting": "dim",
}


@dataclass(frozen=True)
class Layout:
    """The widths of the parts of a row, in characters.

    Attributes:
        curve: Maximum width of a learning curve; 0 omits it.
        bar: Width of a progress bar; at 0 the state shows the percentage instead.
        gap: Space between columns.
        name: Maximum width of a value that is not a number.
        wraps: Whether a header that is wider than its values may take two lines.

    """

    curve: int
    bar: int
    gap: int
    name: int
    wraps: bool = True

    @property
    def is_brief(self) -> bool:
        """Whether times are shown in one unit, without words."""
        return self.bar <= 4


# From wide to narrow: the first one that fits is used.
LAYOUTS = (
    Layout(curve=16, bar=12, gap=2, name=40, wraps=False),
    *(
        Layout(curve, bar, 2, 40)
        for curve, bar in ((16, 12), (12, 8), (8, 6), (8, 4), (6, 4), (8, 0))
    ),
    *(Layout(8, 0, 1, name) for name in (40, 24, 20, 18, 16, 14, 12)),
    *(Layout(curve, 0, 1, name) for curve in (6, 4, 0) for name in (16, 14, 12, 10, 8)),
)


@dataclass(frozen=True)
class Cell:
    """One value of a row, with its own style."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        head: Its name, in one or two lines.
        cells: One per row.
        is_right: Whether it is aligned right, like numbers.
        least: Minimum width, so that the column does not jump as values come and go.

    """

    head: str
    cells: Sequence[Cell]
    is_right: bool = False
    least: int = 0

    @cached_property
    def width(self) -> int:
        """The width in characters that shows every cell in full."""
        texts = (*self.head.split("\n"), *(cell.text for cell in self.cells))
        return max(self.least, *(cell_len(text) for text in texts))

    def padded(self, text: str) -> str:
        """Return the text at the column's width."""
        if self.is_right:
            return " " * (self.width - cell_len(text)) + text
        return set_cell_size(text, self.width)


@dataclass(frozen=True)
class View:
    """What is drawn, before the width is known.

    Attributes:
        snapshot: The study.
        rows: The trials to show.
        glyphs: The marks for bars and curves.

    """

    snapshot: Snapshot
    rows: Sequence[TrialRow]
    glyphs: Glyphs

    @cached_property
    def names(self) -> list[str]:
        """A short name for each of the snapshot's paths."""
        return short_names(self.snapshot.paths)

    @cached_property
    def curve_length(self) -> int:
        """The largest number of validations of any trial, including hidden ones."""
        return max((len(row.curve) for row in self.snapshot.rows), default=0)

    @cached_property
    def curve_range(self) -> tuple[float, float]:
        """The lowest and highest point of all curves, including hidden ones.

        With one scale, heights can be compared and do not change as rows come and go.
        """
        curves = (row.curve for row in self.snapshot.rows)
        points = [point for curve in curves for point in curve if math.isfinite(point)]
        return (min(points), max(points)) if points else (0.0, 0.0)


def trial_columns(view: View, layout: Layout) -> list[Column]:
    """Return number and state, one column per path, then each trial's progress and scores."""
    paths = zip(view.snapshot.paths, view.names, strict=True)
    return [
        _numbers(view),
        Column("state", [_state(row, layout) for row in view.rows], least=len("complete")),
        *(_values(path, name, view, layout) for path, name in paths),
        *_progress(view, layout),
        *_scores(view, layout),
        *_curves(view, layout),
        _times(view, layout),
        *_attempts(view, layout),
    ]


def _numbers(view: View) -> Column:
    last = max(view.snapshot.num_trials - 1, *(row.number for row in view.rows))
    digits = max(2, len(str(last)))
    marks = ((row, view.glyphs.best if row.is_best else " ") for row in view.rows)
    cells = [Cell(f"{mark}{row.number:{digits}d}") for row, mark in marks]
    return Column("trial", cells, is_right=True)


def _state(row: TrialRow, layout: Layout) -> Cell:
    is_shown = not layout.bar and row.state == "running" and row.fraction > 0
    text = f"run {_percent(row)}" if is_shown else row.state
    return Cell(text, STATE_STYLES[row.state])


def _percent(row: TrialRow) -> str:
    # Only a trial that has ended shows 100%.
    return f"{min(99, int(100 * row.fraction))}%"


def _values(path: str, name: str, view: View, layout: Layout) -> Column:
    values = [row.values[path] for row in view.rows if path in row.values]
    names = {printable(str(value)) for value in values if _is_name(value)}
    shown = _shortened(names, layout.name, view.glyphs)
    cells = [
        _value(row.values[path], shown) if path in row.values else Cell("-", "dim")
        for row in view.rows
    ]
    width = max(cell_len(cell.text) for cell in cells)
    is_right = not any(_is_name(value) or isinstance(value, bool) for value in values)
    return Column(_wrapped(name, width, layout), cells, is_right)


def _is_name(value: Any) -> bool:
    return value is not None and not isinstance(value, bool | int | float)


def _value(value: Any, shown: dict[str, str]) -> Cell:
    if value is None:
        return Cell("null")  # as in YAML; "-" means that the trial does not have this setting
    return Cell(shown[printable(str(value))] if _is_name(value) else number(value))


def _shortened(names: set[str], width: int, glyphs: Glyphs) -> dict[str, str]:
    """Return each name cut to `width` characters, or to as many as keep the names distinct."""
    for length in range(width, max(map(cell_len, names), default=0)):
        heads = {name: glyphs.cut(name, length) for name in names}
        tails = {name: glyphs.cut(name[::-1], length)[::-1] for name in names}
        for cut in (heads, tails):
            if len(set(cut.values())) == len(names):
                return cut
    return {name: name for name in names}


def _wrapped(name: str, width: int, layout: Layout) -> str:
    """Return a column's name, in two lines if it is wider than its values and space is short.

    >>> _wrapped("batch_size", 2, Layout(curve=8, bar=0, gap=1, name=8)).split()
    ['batch', 'size']
    """
    if not layout.wraps or len(name) <= width:
        return name
    breaks = [at for at in range(1, len(name) - 1) if name[at] in "._"]
    heads = [f"{name[:at]}{name[at].strip('_')}\n{name[at + 1 :]}" for at in breaks]
    return min([name, *heads], key=lambda head: max(len(line) for line in head.split("\n")))


def _progress(view: View, layout: Layout) -> Iterator[Column]:
    if layout.bar and any(_is_underway(row) for row in view.snapshot.rows):
        cells = [
            Cell(f"{view.glyphs.bar(row.fraction, layout.bar)} {_percent(row):>3}", "cyan")
            if _is_underway(row)
            else Cell("")
            for row in view.rows
        ]
        yield Column("progress", cells)


def _is_underway(row: TrialRow) -> bool:
    """Return whether the trial runs, or waits to resume from a checkpoint."""
    return row.state == "running" or (row.state == "waiting" and row.fraction > 0)


def _scores(view: View, layout: Layout) -> Iterator[Column]:
    for at, objective in enumerate(view.snapshot.objectives):
        cells = [_score(row, at) for row in view.rows]
        name = objective.rsplit("/", 1)[-1]
        yield Column(_wrapped(name, 6, layout), cells, is_right=True, least=6)


def _score(row: TrialRow, at: int) -> Cell:
    if row.objectives[at] is not None:
        return Cell(score(row.objectives[at]))
    # A trial without a result shows its latest validation.
    return Cell(score(row.curve[-1]) if at == 0 and row.curve else "-", "dim")


def _curves(view: View, layout: Layout) -> Iterator[Column]:
    width = min(layout.curve, view.curve_length)
    if width > 1:
        limits = view.curve_range
        cells = [Cell(view.glyphs.curve(row.curve, width, limits)) for row in view.rows]
        yield Column("curve" if width >= len("curve") else "", cells, least=width)


def _times(view: View, layout: Layout) -> Column:
    cells = [_time(row, layout) for row in view.rows]
    return Column("time", cells, least=8 if layout.is_brief else 12)


def _time(row: TrialRow, layout: Layout) -> Cell:
    if row.state == "running" and row.seconds_left is not None:
        return Cell(f"~{rough(row.seconds_left)}{'' if layout.is_brief else ' left'}")
    if row.seconds is None:
        return Cell("-", "dim")
    return Cell(rough(row.seconds) if layout.is_brief else duration(row.seconds))


def _attempts(view: View, layout: Layout) -> Iterator[Column]:
    if any(row.attempts > 1 for row in view.snapshot.rows):
        head = "at-\ntempts" if layout.wraps else "attempts"
        yield Column(head, [Cell(str(row.attempts)) for row in view.rows], is_right=True)
