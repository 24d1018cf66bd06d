"""The types of cells in data files, and the normalized form of their values.

A task names the cell type of each of its fields. CSV and TSV cells are always text, so lists and
objects are written there as JSON.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lightning_modules.error import Verbatim
from lightning_modules.rows.depth import is_too_deep
from lightning_modules.rows.message import message, without_nulls
from lightning_modules.rows.spelling import plain, spelt

_EXACT = 2**53
_HALF = re.compile("[\ud800-\udfff]")
FIX_CELL = "Correct the row or convert the column."
_ANSWER = '{"text": ["Oslo"], "answer_start": [12]}'
_NO_ANSWER = '{"text": [], "answer_start": []}'


@dataclass(frozen=True)
class Refused:
    """Why a cell cannot be used.

    Attributes:
        rule: The rule that it breaks, e.g. "must be text".
        fix: What to do.
        got: The wrong part, if the whole cell would hide it; None shows the cell.

    """

    rule: str
    fix: str = FIX_CELL
    got: str | None = None


EMPTY = Refused("must not be empty", "Fill it in or remove the row.")
HALF_CHARACTER = Refused("must hold whole characters, not half of a surrogate pair")

Cell = Callable[[Any], Any]
"""Takes a cell as read from the file and returns its value, or `Refused`."""


def text(cell: Any) -> str | Refused:
    """Return a text without space at its ends.

    >>> text(" well made ")
    'well made'
    """
    if _is_empty(cell):
        return EMPTY
    return cell.strip() if isinstance(cell, str) else Refused("must be text")


def passage(cell: Any) -> str | Refused:
    """Return a text unchanged, so that positions in it stay valid.

    >>> passage(" well made ")
    ' well made '
    """
    found = text(cell)
    return found if isinstance(found, Refused) else str(cell)


def label(cell: Any) -> str | Refused:
    """Return a label as text, with one spelling per value in all formats of files.

    4, 4.0 and "4" are the same label, and so are true, "True" and "TRUE", 0.5 and "0.50", -0 and 0.
    A word that only looks like a number, e.g. 007 or 1e3, stays as it is.

    >>> label(4.0), label("4.0"), label(True), label("TRUE"), label("0.50"), label("-0")
    ('4', '4', 'true', 'true', '0.5', '0')
    """
    if _is_empty(cell):
        return EMPTY
    if isinstance(cell, str):
        # One text for all rows of a class: of a million they need 57 MB.
        return sys.intern(spelt(cell.strip()))
    if isinstance(cell, bool | int):
        return str(cell).lower()
    if isinstance(cell, float | Decimal):
        return _of_number(cell)
    return Refused("must be text or a number")


def _of_number(number: float | Decimal) -> str | Refused:
    if not math.isfinite(number):
        return Refused("must be text or a number")
    if isinstance(number, Decimal):
        return plain(number)
    if number.is_integer() and abs(number) > _EXACT:
        rule = "must be a number that is exact as a float: at most 2^53"
        return Refused(rule, "Write the column as text or as integers.", repr(number))
    return plain(Decimal(repr(number)))


def texts(cell: Any) -> list[str] | Refused:
    """Return one or more texts as a list.

    >>> texts("one"), texts(["one", "two"])
    (['one'], ['one', 'two'])
    """
    cell = from_json(cell)
    if isinstance(cell, list):
        found = [text(each) for each in cell]
        if any(isinstance(each, Refused) for each in found) or not found:
            return Refused("must be text, or a list of texts, none of them empty")
        return [each for each in found if isinstance(each, str)]
    one = text(cell)
    return one if isinstance(one, Refused) else [one]


def verbatim(cell: Any) -> str | Refused:
    r"""Return a text unchanged, including space at its ends.

    >>> verbatim("  indented\n")
    '  indented\n'
    """
    if _is_empty(cell):
        return EMPTY
    return cell if isinstance(cell, str) else Refused("must be text")


def answer(cell: Any) -> str | Refused:
    """Return a text unchanged, or a number or boolean as text.

    >>> answer(" yes"), answer(4.0)
    (' yes', '4')
    """
    return verbatim(cell) if isinstance(cell, str) else label(cell)


def conversation(cell: Any) -> str | list[dict[str, Any]] | Refused:
    """Return a text unchanged, or a list of messages, each with a role and a content.

    A message of the assistant may have `tool_calls` in place of a content. Null fields are left
    out: tables with one schema for all messages have them wherever a message lacks a field.

    >>> conversation('[{"role": "user", "content": "Hi.", "tool_calls": null}]')
    [{'role': 'user', 'content': 'Hi.'}]
    >>> conversation("[sic] a text")
    '[sic] a text'
    """
    found = from_json(cell)
    if not isinstance(found, list):
        return verbatim(cell)
    if isinstance(cell, str) and not all(isinstance(each, dict) for each in found):
        return cell  # a text that happens to be valid JSON
    messages = [message(each) for each in found]
    if None in messages:
        rule = "must be text, or messages that each have a role and a content"
        return Refused(rule, 'Write [{"role": "user", "content": "Hello."}].')
    return [each for each in messages if each is not None] or EMPTY


def tools(cell: Any) -> list[dict[str, Any]] | Refused:
    """Return the tools that a conversation may call, as JSON schemas; may be empty.

    >>> tools('[{"type": "function", "function": {"name": "now"}}]')
    [{'type': 'function', 'function': {'name': 'now'}}]
    >>> tools(None)
    []
    """
    found = [] if _is_empty(cell) else from_json(cell)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        fix = 'Write [{"type": "function", "function": {"name": "now"}}], or [] for none.'
        return Refused("must be a list of tools, each a JSON schema", fix)
    # In JSON a null is meant; a table has one where a tool lacks a field that another has.
    return found if isinstance(cell, str) else list(map(without_nulls, found))


def spoken(cell: Any) -> str | list[dict[str, Any]] | Refused:
    """Return messages, or a text unchanged, or a number as text.

    >>> spoken(" yes"), spoken(4.0)
    (' yes', '4')
    """
    found = from_json(cell)
    return conversation(cell) if isinstance(found, list) else answer(cell)


def words(cell: Any) -> list[str] | Refused:
    """Return a list of words unchanged; a word may be any text that is not empty.

    >>> words(["New", "York"]), words('["New", "York"]')
    (['New', 'York'], ['New', 'York'])
    """
    cell = from_json(cell)
    if _is_empty(cell) or cell == []:
        return EMPTY
    if not isinstance(cell, list) or not all(isinstance(word, str) and word for word in cell):
        return Refused("must be a list of words, none of them empty", 'Write ["New", "York"].')
    return list(cell)


def tags(cell: Any) -> list[str] | Refused:
    """Return a list of tags, one per word.

    >>> tags(["B-place", "O"])
    ['B-place', 'O']
    """
    found = words(cell)
    if not isinstance(found, Refused) or found is EMPTY:
        return found
    return Refused("must be a list of tags, all of them text", 'Write ["B-person", "O"].')


def labels(cell: Any) -> list[str] | Refused:
    """Return the sorted distinct labels of a list, each spelt like in `label`; may be empty.

    >>> labels(["sport", 4.0]), labels("[]")
    (['4', 'sport'], [])
    """
    cell = from_json(cell)
    wrong = Refused("must be a list of labels", 'Write ["sport", "money"], or [] for none.')
    if not isinstance(cell, list):
        return wrong
    found = [label(each) for each in cell]
    spelt = {each for each in found if isinstance(each, str)}
    return wrong if any(isinstance(each, Refused) for each in found) else sorted(spelt)


def answers(cell: Any) -> dict[str, list[Any]] | Refused:
    """Return the answers to a question, each with its start in the context; may be empty.

    >>> answers({"text": ["Oslo"], "answer_start": [4]})
    {'text': ['Oslo'], 'answer_start': [4]}
    >>> answers('[{"text": "Oslo", "answer_start": 4}]')
    {'text': ['Oslo'], 'answer_start': [4]}
    """
    cell = from_json(cell)
    if _is_empty(cell):
        return Refused("must not be empty", f"Write {_NO_ANSWER} if there is no answer.")
    if isinstance(cell, list) and all(isinstance(each, dict) for each in cell):
        cell = {key: [each.get(key) for each in cell] for key in ("text", "answer_start")}
    given = cell if isinstance(cell, dict) else {}
    found, starts = given.get("text"), given.get("answer_start")
    if not isinstance(found, list) or not isinstance(starts, list):
        return Refused("must hold answers", f"Write {_ANSWER}.")
    if len(found) != len(starts):
        rule = "must have an answer_start for each text"
        got = Verbatim(f"{len(found)} in text and {len(starts)} in answer_start")
        return Refused(rule, got=got)
    if not all(isinstance(each, str) and each.strip() for each in found):
        return Refused("every answer must be text that is not empty", f"Write {_ANSWER}.")
    if not all(type(each) is int and each >= 0 for each in starts):
        return Refused("every answer_start must be a whole number >= 0", f"Write {_ANSWER}.")
    return {"text": list(found), "answer_start": list(starts)}


def is_whole(cell: Any) -> bool:
    r"""Return whether the cell has no half of a surrogate pair, which tokenizers cannot read.

    >>> is_whole("half \ud83d"), is_whole(["one", {"two": "\U0001f600"}])
    (False, True)
    """
    if isinstance(cell, str):
        return cell.isascii() or _HALF.search(cell) is None
    if isinstance(cell, dict):
        return all(map(is_whole, cell.values()))
    return all(map(is_whole, cell)) if isinstance(cell, list) else True


def from_json(cell: Any) -> Any:
    """Return a list or object parsed from JSON text, and anything else unchanged."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            return cell
        return cell if is_too_deep(cell, found) else found
    return cell


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())
