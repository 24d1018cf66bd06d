"""Instructions: rows whose prompt is written from several columns, for tasks that read messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_modules.data.table import Table
from lightning_modules.data.templated import Templated, named_columns, templated
from lightning_modules.task.base import Task


def framed(table: Table, columns: Mapping[str, str], task: Task) -> Templated:
    """Return a table of instructions with one column per field; others as they are.

    Args:
        table: The table.
        columns: The configured column of each field.
        task: The task; only those that read conversations have instructions.

    Raises:
        ConfigError: The template names a column that the table lacks.

    """
    template = task.prompt_of(None)
    if template is not None:
        return templated(table, columns, template)
    return Templated(table, columns)


def prompt_columns(task: Task, text: str) -> Sequence[str] | None:
    """Return the columns that the task's prompts are written from; None if it is the text."""
    template = task.prompt_of(None)
    return None if template is None else list(named_columns(template, text).values())
