r"""Instruction data as other programs write it: recognized by its columns, and read as it is meant.

- Conversations: `messages` (role, content) or ShareGPT's `conversations` (from, value), with the
  columns `system` and `tools` if they are there.
- Instructions: Alpaca's `instruction`, `input`, `output`, with one pair or nested `instances`.
- Pairs: `prompt` and `completion`, `question` and `answer`, `input` and `output`, and the like.

A form is recognized only if no column is named for the text, and none is called `text`. A prompt is
written by `task.template`, with the form's columns in place of `{text}`; a template that names
columns itself decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_modules.data.table import Table
from lightning_modules.data.templated import Templated, named_columns, templated
from lightning_modules.rows import cell
from lightning_modules.rows.message import without_nulls
from lightning_modules.task.base import Task
from lightning_modules.text.shorten import SYSTEM as SYSTEM_ROLES
from lightning_modules.text.template import TEXT, needed_in, replaced

INSTANCES, SYSTEM, TOOLS = "instances", "system", "tools"
_ANSWERS = ("output", "response", "completion", "answer", "target")
_MORE = ("input", "context")
_PROMPTS = ("instruction", "prompt", "question", "query", "input")
_TALKS = ("messages", "conversations", "conversation")
_KNOWN = (*_TALKS, SYSTEM, TOOLS, *_PROMPTS, *_MORE, INSTANCES, *_ANSWERS)


def framed(table: Table, columns: Mapping[str, str], task: Task) -> Templated:
    """Return a table of instructions with one column per field; others as they are.

    Args:
        table: The table.
        columns: The configured column of each field.
        task: The task; only those that read instructions have them.

    Raises:
        ConfigError: The template names a column that the table lacks.

    """
    template = task.prompt_of(None)
    if template is not None:
        return templated(table, columns, template)
    plain = Templated(table, columns)
    if not _may_have_form(table, columns, task):
        return plain
    return _talks(table, columns) or _pairs(table, columns, getattr(task, "template", "")) or plain


def framed_talks(table: Table, columns: Mapping[str, str], task: Task) -> Templated | None:
    """Return a table of conversations to predict with one column per field; None if it has none."""
    if not _may_have_form(table, columns, task):
        return None
    found = _talks(table, columns)
    if found is not None:
        return found
    prompt = next((name for name in _PROMPTS if name in table.columns), None)
    if prompt is None or not isinstance(cell.from_json(table.rows[0].get(prompt)), list):
        return None
    return Templated(table, {**columns, TEXT: prompt}, f"conversations in {{{prompt}}}")


def prompt_columns(task: Task, text: str) -> Sequence[str] | None:
    """Return the columns that the task's prompts are written from; None if it is the text."""
    template = task.prompt_of(None)
    return None if template is None else list(named_columns(template, text).values())


def form_columns(task: Task) -> Sequence[str]:
    """Return the columns that a table of instructions may have; empty if the task reads none."""
    return _KNOWN if task.reads_instructions else ()


def _may_have_form(table: Table, columns: Mapping[str, str], task: Task) -> bool:
    is_default = columns.get(TEXT) == TEXT and TEXT not in table.columns
    return task.reads_instructions and is_default and bool(table.rows)


def _talks(table: Table, columns: Mapping[str, str]) -> Templated | None:
    talk = next((name for name in _TALKS if name in table.columns), None)
    if talk is None:
        return None
    first = cell.from_json(table.rows[0].get(talk))
    turns = first if isinstance(first, list) else []
    is_sharegpt = any(isinstance(turn, dict) and "from" in turn for turn in turns)
    kind = "ShareGPT's conversations (from, value)" if is_sharegpt else "messages (role, content)"
    how, found = f"{kind} in {{{talk}}}", {**columns, TEXT: talk}
    if SYSTEM in table.columns:
        rows = [{**row, talk: _led(row.get(talk), row.get(SYSTEM))} for row in table.rows]
        num_own = sum(_has_other(row.get(talk), row.get(SYSTEM)) for row in table.rows)
        table, how = replace(table, rows=rows), f"{how}, after the system messages in {{{SYSTEM}}}"
        if num_own:
            how += f", but {num_own} of {len(rows)} rows keep another one of their own"
    if TOOLS in table.columns and "text_pair" not in columns:
        found, how = {**found, "text_pair": TOOLS}, f"{how}, with the tools in {{{TOOLS}}}"
    return Templated(table, found, how)


def _led(talk: Any, system: Any) -> Any:
    """Return a conversation after a system message, unless it has one of its own."""
    found = cell.from_json(talk)
    if not isinstance(system, str) or not system.strip() or not isinstance(found, list):
        return talk
    return (
        talk if _own_system(found) is not None else [{"role": "system", "content": system}, *found]
    )


def _has_other(talk: Any, system: Any) -> bool:
    """Return whether a conversation has another system message than the one that is given."""
    found = cell.from_json(talk)
    own = _own_system(found) if isinstance(found, list) else None
    given = system.strip() if isinstance(system, str) else ""
    return bool(given) and own is not None and str(own).strip() != given


def _own_system(talk: list[Any]) -> Any:
    """Return the content of the system message that a conversation begins with; None without."""
    first = talk[0] if talk and isinstance(talk[0], dict) else {}
    is_led = first.get("role", first.get("from")) in SYSTEM_ROLES
    return first.get("content", first.get("value", "")) if is_led else None


def _pairs(table: Table, columns: Mapping[str, str], template: str) -> Templated | None:
    if INSTANCES in table.columns:
        table = _unnested(table)
    has = set(table.columns)
    prompt = next((name for name in _PROMPTS if name in has), None)
    answer = columns.get("label") or next((name for name in _ANSWERS if name in has), None)
    if prompt is None or answer is None:
        return None
    more = next((name for name in _MORE if name in has and name not in (prompt, answer)), None)
    found = {**columns, "label": answer}
    if isinstance(cell.from_json(table.rows[0].get(prompt)), list):
        rows = [{**row, answer: _said(row.get(answer))} for row in table.rows]
        how = f"conversations in {{{prompt}}} that {{{answer}}} answers"
        return Templated(replace(table, rows=rows), {**found, TEXT: prompt}, how)
    own = f"{{{prompt}}}"
    if more is not None and TEXT in needed_in(template):  # parts cannot hold parts
        own += f"[[\n\n{{{more}}}]]"
    kind = "instructions" if prompt == "instruction" else "prompts and answers"
    return templated(table, found, replaced(template, own), f"{kind}: ")


def _said(answer: Any) -> Any:
    """Return the text of an answer that is one message; others as they are."""
    found = cell.from_json(answer)
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        given = without_nulls(found[0])
        return given["content"] if given.keys() == {"role", "content"} else answer
    return answer


def _unnested(table: Table) -> Table:
    """Return a table with a row for each of the `instances` of a row."""
    rows, numbers = [], []
    for number, row in enumerate(table.rows):
        nested = cell.from_json(row.get(INSTANCES))
        rest = {name: value for name, value in row.items() if name != INSTANCES}
        for each in nested if isinstance(nested, list) and nested else [{}]:
            rows.append({**rest, **each} if isinstance(each, dict) else rest)
            numbers.append(number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [table.lines[number] for number in numbers]
    files = None if table.files is None else [table.files[number] for number in numbers]
    return replace(table, columns=names, rows=rows, lines=lines, files=files)
