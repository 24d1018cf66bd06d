r"""Templates of prompts: the columns of a row in braces, and parts that need a column.

`{instruction}` is the row's cell in that column, and `{text}` the text of `data.text`. A part in
`[[...]]` that holds columns is left out of rows in which one of these is empty:
`"{instruction}[[\nInput: {input}]]\nAnswer: "`. `{{` and `}}` are braces, `\[` is a bracket, `\\` a
backslash. `\n` and `\t`, which a shell passes on as two characters, are a line break and a tab.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.rows.corpus import Row

TEXT = "text"
ASKED = "asked"
"""Field of a row whose text is a whole prompt: the template that wrote it, and the row's cells."""
FIX_TEMPLATE = (
    "Write {text} in place of the question, e.g. 'Question: {text} Answer: ', or the names of "
    "columns; write literal braces twice: {{."
)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}|[{}]|\\[nt\\\[]")
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\\": "\\", r"\[": "["}
_PART = re.compile(r"\\[nt\\\[]|\[\[(.*?)\]\]", re.DOTALL)


def broken_rule(template: str) -> str | None:
    """Return the rule that a template breaks, or None.

    >>> broken_rule("Text: {text"), broken_rule('{{"q": "{text}"}}'), broken_rule("Answer:")
    ('must hold a column in each pair of braces', None, 'must hold {text} or another column')
    """
    if any(token[0] in ("{", "}") for token in _TOKEN.finditer(template)):
        return "must hold a column in each pair of braces"
    parts = [part[1] for part in _PART.finditer(template) if part[1] and columns_in(part[1])]
    rest = _PART.sub(lambda part: part[0] if part[1] is None else "", template)
    unclosed = rest.replace(r"\[", "").partition("[[")[2]
    if any("[[" in part for part in parts) or columns_in(unclosed):
        return r"must close each [[ with ]], and hold no part in another (\[[ is text)"
    return None if columns_in(template) else "must hold {text} or another column"


def columns_in(template: str) -> tuple[str, ...]:
    """Return the columns that a template names, each once.

    >>> columns_in("{a}[[ {b}]] {{c}} {a}")
    ('a', 'b')
    """
    names = (token[1] for token in _TOKEN.finditer(template))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def needed_in(template: str) -> tuple[str, ...]:
    """Return the columns that a template names outside the parts that may be left out.

    >>> needed_in("{a}[[ {b}]]")
    ('a',)
    """
    return columns_in(
        _PART.sub(lambda part: "" if columns_in(part[1] or "") else part[0], template)
    )


def notes_of(template: str) -> Iterator[str]:
    r"""Yield what [[ and ]] in a template mean, which may have been meant as text.

    >>> [note.partition(",")[0] for note in notes_of('{{"a": [[{text}]]}}')]
    ['[[{text}]] in task.template is written without the brackets']
    >>> list(notes_of(r"\[[{text}]]"))
    []
    """
    for part in _PART.finditer(template):
        if names := columns_in(part[1] or ""):
            shown = part[0].replace("\n", r"\n")
            columns = " or ".join(f"{{{name}}}" for name in names)
            yield (
                f"{shown} in task.template is written without the brackets, and left out if "
                f"{columns} is empty; for brackets in the text, write \\[["
            )


def replaced(template: str, own: str) -> str:
    """Return a template with another one in the place of the text.

    >>> replaced("Q: {text} {{text}}", "{a}[[, {b}]]")
    'Q: {a}[[, {b}]] {{text}}'
    """
    return _TOKEN.sub(lambda token: own if token[1] == TEXT else token[0], template)


def filled(template: str, cells: Mapping[str, str]) -> str:
    """Return a template with the cells of a row by column; a column that is not there is empty.

    >>> filled("{a}[[ ({b})]]", {"a": "x", "b": " "}), filled("{a}[[ ({b})]]", {"a": "x", "b": "y"})
    ('x', 'x (y)')
    """
    return written(template, cells)[0]


def written(template: str, cells: Mapping[str, str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a template with the cells of a row, and the start and end of each cell in it.

    >>> written("Q: {a}?", {"a": "Why"})
    ('Q: Why?', ((3, 6),))
    """
    text, spans = "", []
    whole = _PART.sub(lambda part: _kept(part, cells), template)
    at = 0
    for token in _TOKEN.finditer(whole):
        text += whole[at : token.start()]
        at = token.end()
        if token[1] is None:
            text += _ESCAPES.get(token[0], token[0][0])
        else:
            cell = cells.get(token[1], "")
            spans.append((len(text), len(text) + len(cell)))
            text += cell
    return text + whole[at:], tuple(spans)


def _kept(part: re.Match[str], cells: Mapping[str, str]) -> str:
    names = columns_in(part[1] or "")
    if not names:
        return part[0]
    return part[1] if all(cells.get(name, "").strip() for name in names) else ""


def own_texts(rows: Sequence[Row]) -> Sequence[Row]:
    """Return rows with the cells that a template wrote their text from in place of this text."""
    if not any(ASKED in row for row in rows):
        return rows
    return [
        {**row, TEXT: row[ASKED]["cells"], ASKED: None} if ASKED in row else row for row in rows
    ]


def as_literal(template: str) -> str:
    r"""Return a template of earlier versions, in which everything but `{text}` was text.

    >>> print(as_literal('{"q": "{text}"}'), as_literal("[[{text}]]"))
    {{"q": "{text}"}} \[[{text}]]
    """
    text = re.sub(r"\[(?=\[)", r"\\[", template.replace("\\", r"\\"))
    parts = text.split("{text}")
    return "{text}".join(part.replace("{", "{{").replace("}", "}}") for part in parts)


def cell_text(cell: Any) -> str:
    """Return a cell as a template writes it: nothing if it is empty, lists and objects as JSON.

    >>> cell_text(None), cell_text(4.0), cell_text(True), cell_text(["a"])
    ('', '4', 'true', '["a"]')
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, list | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)
