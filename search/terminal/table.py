"""A study as a table for a terminal, drawn from one snapshot.

On a narrow terminal, learning curves and progress bars shrink first, then gaps, then names; in the
end, whole columns are left out. Numbers are never cut, and each row is one line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from search.report.results import TABLE_FILE
from search.report.snapshot import Snapshot, TrialRow
from search.report.text import rough, score
from search.terminal.column import LAYOUTS, Column, View, trial_columns
from search.terminal.glyph import ASCII, UNICODE, Glyphs, printable

NUM_NOTES = 3


def study_table(
    snapshot: Snapshot,
    width: int,
    height: int,
    notes: Sequence[str] = (),
    *,
    ascii_only: bool = False,
) -> Text:
    """Draw a study in at most `height` lines of `width` characters.

    Args:
        snapshot: The study.
        width: Characters per line, > 0.
        height: Lines, > 0. If not all trials fit, the running, best and latest ones are shown.
        notes: Warnings; the last few are shown at the end.
        ascii_only: Whether to draw with ASCII only.
    """
    glyphs = ASCII if ascii_only else UNICODE
    head, tail = _header(snapshot, width, glyphs), note_lines(notes, width, height)
    # An empty line, two for the column names, one for what is left out.
    num_rows = height - len(head) - len(tail) - 4
    rows = chosen_rows(snapshot, num_rows)
    body = [Text(), *_table(View(snapshot, rows, glyphs), width)] if rows else []
    lines = [*head, *body, *tail][:height]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    drawn = Text("\n", no_wrap=True, overflow="crop").join(lines)
    return _in_ascii(drawn) if ascii_only else drawn


def chosen_rows(snapshot: Snapshot, num_rows: int) -> list[TrialRow]:
    """Return the most important rows by number: the best, the running and the latest ended ones."""
    if len(snapshot.rows) <= num_rows:
        return list(snapshot.rows)
    sign = -1 if snapshot.directions[0] == "maximize" else 1
    scored = [row for row in snapshot.rows if row.objectives[0] is not None]
    scored.sort(key=lambda row: (not row.is_best, sign * (row.objectives[0] or 0.0)))
    latest = list(reversed(snapshot.rows))
    ranked = [
        *scored[:1],
        *(row for row in snapshot.rows if row.state == "running"),
        *scored[: max(3, num_rows // 4)],
        *(row for row in latest if row.state not in ("running", "waiting")),
        *(row for row in snapshot.rows if row.state == "waiting"),
    ]
    chosen = list({row.number: row for row in ranked}.values())[: max(0, num_rows)]
    return sorted(chosen, key=lambda row: row.number)


def _header(snapshot: Snapshot, width: int, glyphs: Glyphs) -> list[Text]:
    name = glyphs.cut(snapshot.study, max(8, width - 34))
    ended = f"study {name}: {snapshot.num_ended} of {snapshot.num_trials} trials ended"
    counts = [f"{count} {state}" for state, count in snapshot.counts.items() if count]
    lines = [
        _fitting([ended, *_pace(snapshot)], width),
        _fitting(counts, width),
        _fitting(_best(snapshot), width),
    ]
    header = [Text(line) for line in lines if line]
    header[0].stylize("bold", len("study "), len(f"study {name}"))
    return header


def _pace(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.is_stopping:
        yield "stopping: no more trials start"
    elif snapshot.seconds_left is not None:
        yield f"~{rough(snapshot.seconds_left)} left"
    if snapshot.max_hours is not None:
        yield f"at most {snapshot.max_hours:g} h"
    if snapshot.trials_per_hour is not None:
        rate = snapshot.trials_per_hour
        yield f"{rate:.0f} trials/h" if rate >= 100 else f"{rate:.2g} trials/h"


def _best(snapshot: Snapshot) -> list[str]:
    best = [row for row in snapshot.rows if row.is_best]
    if not best:
        return ["no trial has finished yet" if snapshot.rows else "no trial has started yet"]
    if len(snapshot.objectives) == 1:
        value = score(best[0].objectives[0])
        return [f"best {value} {snapshot.objectives[0]}", f"trial {best[0].number}"]
    goals = zip(snapshot.directions, snapshot.objectives, strict=True)
    trials = "1 trial" if len(best) == 1 else f"{len(best)} trials"
    return [f"Pareto front of {trials}", *(f"{way} {name}" for way, name in goals)]


def _fitting(parts: Sequence[str], width: int) -> str:
    """Return as many parts as fit on a line: a number that is cut would read as a different one."""
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if not line or cell_len(longer) <= width:
            line = longer
    return line


def _table(view: View, width: int) -> list[Text]:
    for layout in LAYOUTS:
        columns = trial_columns(view, layout)
        if _width(columns, layout.gap) <= width:
            break
    num_values = len(view.names)
    while _width(columns, layout.gap) > width and len(columns) > 2:
        # Drop the last setting first; when no setting is left, the last column.
        columns.pop(1 + num_values if num_values else -1)
        num_values = max(0, num_values - 1)
    return [
        *_head_lines(columns, layout.gap),
        *(_row_line(columns, at, row, layout.gap) for at, row in enumerate(view.rows)),
        *_left_out(len(view.snapshot.rows) - len(view.rows), view.names[num_values:]),
    ]


def _width(columns: Sequence[Column], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _head_lines(columns: Sequence[Column], gap: int) -> Iterator[Text]:
    num_lines = max(column.head.count("\n") for column in columns) + 1
    for at in range(num_lines):
        words = []
        for column in columns:
            parts = column.head.split("\n")
            missing = num_lines - len(parts)  # short names go to the bottom line
            word = parts[at - missing] if at >= missing else ""
            words.append(column.padded(word))
        yield Text((" " * gap).join(words).rstrip(), style="dim")


def _row_line(columns: Sequence[Column], at: int, row: TrialRow, gap: int) -> Text:
    line = Text(style="bold" if row.is_best else "")
    for column in columns:
        cell = column.cells[at]
        line.append(column.padded(cell.text), cell.style).append(" " * gap)
    line.rstrip()
    return line


def _left_out(num_rows: int, names: Sequence[str]) -> Iterator[Text]:
    if num_rows or names:
        parts = [f"{num_rows} more"] if num_rows else []
        parts += (
            [f"{'column' if len(names) == 1 else 'columns'} {', '.join(names)}"] if names else []
        )
        yield Text(f"... {' and '.join(parts)} in {TABLE_FILE}", style="dim")


def note_lines(notes: Sequence[str], width: int, height: int) -> list[Text]:
    """Return the last notes, in at most two lines each and a quarter of the height in all."""
    lines = []
    for note in notes[-NUM_NOTES:]:
        wrapped = textwrap.wrap(printable(note), max(8, width - 2), max_lines=2, placeholder=" ...")
        marks = ("! ", "  ")
        lines += [f"{mark}{line}" for mark, line in zip(marks, wrapped, strict=False)]
    return [Text(line, style="yellow") for line in lines[: max(1, height // 4)]]


def _in_ascii(text: Text) -> Text:
    # Characters are replaced one by one, so that styles keep their positions.
    text.plain = text.plain.encode("ascii", errors="replace").decode()
    return text
