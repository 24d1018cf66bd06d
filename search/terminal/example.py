"""Training examples for a person: in colour on a terminal, in brackets elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from lightning_modules.text.shown import Shown
from search.plan.example import Example
from search.report.text import columns
from search.terminal.live import is_live

OPEN, CLOSE = "[[", "]]"
BOLD, DIM, END = "\x1b[1;32m", "\x1b[2m", "\x1b[0m"
MAX_CHARACTERS = 600
"""Of a longer part, the start and the end are shown."""


def example_lines(examples: Sequence[Example], *, in_color: bool | None = None) -> list[str]:
    """Return the examples as lines.

    Args:
        examples: The examples.
        in_color: Whether trained tokens are in colour, rather than in brackets; None asks the
            terminal.

    """
    if in_color is None:
        in_color = is_live(sys.stdout) and not os.environ.get("NO_COLOR")
    how = f"{BOLD}green{END}" if in_color else f"in {OPEN}brackets{CLOSE}"
    lines: list[str] = []
    for number, example in enumerate(examples, 1):
        trained = f"; trained tokens {how}" if any(any(p.trained) for p in example.parts) else ""
        lines += ["", f"Training example {number}, {example.num_tokens} tokens{trained}:"]
        cells = [
            [f"  {part.name}", "".join(_text(part, example, in_color=in_color))]
            for part in example.parts
        ]
        lines += columns(cells)
    return lines


def _text(part: Shown, example: Example, *, in_color: bool) -> Iterator[str]:
    """Yield a part in pieces on one line, without the middle of a long one."""
    if not part.ids:
        yield _in_a_line(part.text)
        return
    pieces = list(part.pieces(example.tokenizer))
    texts = [_in_a_line(piece.text) for piece in pieces]
    left_out = sum(map(len, texts)) - MAX_CHARACTERS
    begin, at, is_open = MAX_CHARACTERS // 2, 0, False
    for piece, text in zip(pieces, texts, strict=True):
        shown = text
        if left_out > 0:
            first = min(max(begin - at, 0), len(text))
            last = min(max(begin + left_out - at, 0), len(text))
            gap = f" ... {left_out} characters ... " if first < len(text) and at <= begin else ""
            shown = text[:first] + (gap if first < last else "") + text[last:]
        at += len(text)
        if not shown:
            continue
        if in_color:
            style = BOLD if piece.is_trained else DIM if piece.is_special else ""
            yield f"{style}{shown}{END if style else ''}"
            continue
        if piece.is_trained != is_open:
            yield OPEN if piece.is_trained else CLOSE
            is_open = piece.is_trained
        yield shown
    if is_open:
        yield CLOSE


def _in_a_line(text: str) -> str:
    """Return a text on one line, without what controls a terminal."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
