"""The brief sections of a report as Markdown, which fits into a pull request or a message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from search.report.document.block import Block, Code, Facts, Figure, Fold, Section, Table, Text
from search.report.text import whole

MAX_ROWS = 30


def markdown(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the report as Markdown.

    Args:
        title: Its heading.
        subtitle: A line below it.
        sections: Those of the page; only the brief ones are written.

    """
    parts = [f"# {escaped(title)}", escaped(subtitle)]
    for section in sections:
        if section.is_brief:
            parts += [f"## {escaped(section.title)}", *_blocks(section.blocks)]
    return whole("\n\n".join(parts)) + "\n"


def escaped(text: str) -> str:
    r"""Return any text in one line, so that it is neither markup, a link nor a mention.

    >>> escaped("a_b <script> @you | x")
    'a\\_b \\<script\\> \\@you \\| x'
    """
    return re.sub(r"([\\`*_\[\]<>|~&@#!])", r"\\\1", " ".join(text.split()))


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Text(text, is_note):
                yield f"_{escaped(text)}_" if is_note else escaped(text)
            case Code(title, text):
                fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
                yield f"{escaped(title)}:"
                yield f"{fence}\n{text.rstrip()}\n{fence}"
            case Facts(facts):
                yield "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in facts)
            case Table():
                yield from _table(block)
            case Fold() | Figure():
                pass  # the page has them


def _table(table: Table) -> Iterator[str]:
    lines = [table.head, ["---"] * len(table.head), *table.rows[:MAX_ROWS]]
    cells = ([cell if cell == "---" else escaped(cell) for cell in line] for line in lines)
    yield "\n".join(f"| {' | '.join(line)} |" for line in cells)
    if len(table.rows) > MAX_ROWS:
        yield f"_{len(table.rows) - MAX_ROWS} more rows are on the page._"
