"""JSON and JSONL: a list of objects, an object per line, or SQuAD's tree of questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.data.file.squad import is_squad, read_squad
from lightning_modules.data.table import Table, raise_first
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.rows.depth import MAX_DEPTH, is_too_deep


class _Repeated(ValueError):
    """An object has a key twice."""


class _Deep(ValueError):
    """Lists or objects are nested too deep."""


def read_jsonl(path: Path, text: str) -> Table:
    """Return the objects of a text, one per line.

    Raises:
        DataError: A line is no object.

    """

    def objects() -> Iterator[tuple[int, Any]]:
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                try:
                    yield number, parsed(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(_not_json(path, number, error)) from None

    return _object_table(path, objects())


def _lines(text: str) -> Iterator[str]:
    r"""Yield the lines one by one, because a list of them is as large as the text.

    Only "\n" ends a line: str.splitlines would also cut at U+2028 inside a string.
    """
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def read_json(path: Path, text: str) -> Table:
    """Return the objects of a list, or the questions of a SQuAD tree; raises like `read_jsonl`."""
    try:
        value = parsed(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise DataError(_not_json(path, line, error)) from None
    if is_squad(value):
        questions, problems = read_squad(str(path), value)
        raise_first(problems)
        return _object_table(path, enumerate(questions, start=1))
    if not isinstance(value, list):
        raise DataError(
            Problem(
                f"{path}",
                "must be a list of objects",
                Verbatim(type(value).__name__),
                'Write [{"text": ..., "label": ...}, ...].',
            )
        )
    return _object_table(path, enumerate(value, start=1))


def parsed(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, has a key twice, or is nested too deep.
        RecursionError: It is nested much too deep.

    """
    value = json.loads(text, object_pairs_hook=_object)
    if is_too_deep(text, value):
        raise _Deep
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Repeated(next(name for name in names if names.count(name) > 1))
    return found


def _object_table(path: Path, objects: Iterator[tuple[int, Any]]) -> Table:
    rows, lines, columns = [], [], dict[str, None]()
    problems = []
    for number, value in objects:
        if isinstance(value, dict):
            rows.append(value)
            lines.append(number)
            columns.update(dict.fromkeys(value))
        else:
            found = Verbatim(type(value).__name__)
            problems.append(Problem(f"{path}:{number}", "must be an object", found))
    raise_first(problems)
    return Table(path, list(columns), rows, lines)


def _not_json(path: Path, line: int, error: ValueError | RecursionError) -> Problem:
    if isinstance(error, _Repeated):
        rule, fix = "an object must have each key once", "Rename one or remove it."
        return Problem(f"{path}:{line}", rule, str(error), fix)
    if isinstance(error, _Deep):
        rule = f"must be nested at most {MAX_DEPTH} levels deep"
        return Problem(f"{path}:{line}", rule, Verbatim("more"), "Flatten it.")
    if not isinstance(error, json.JSONDecodeError):  # a number with thousands of digits, or nesting
        return Problem(f"{path}:{line}", "must be JSON", Verbatim(str(error).split(";")[0]))
    fix = "If each line is an object, rename the file to .jsonl."
    fix = fix if error.msg == "Extra data" else ""
    got = Verbatim(f"{error.msg} at column {error.colno}")
    return Problem(f"{path}:{line}", "must be JSON", got, fix)
