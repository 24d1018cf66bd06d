"""The files that a training writes for review: the task's tables about the best validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.callback.best import load_observed
from lightning_modules.folder import table_file
from lightning_modules.machine.file import write_text

if TYPE_CHECKING:
    from lightning_modules.task.base import Examples, Tables, Task


def review(folder: Path, task: Task, examples: Examples) -> Tables:
    """Write each table to its file in `folder`, one record per line; return the tables.

    Args:
        folder: The folder with the best validation's files.
        task: Makes the tables.
        examples: The validation rows as in the corpus, with the labels and the tokenizer.

    """
    tables = task.tables(load_observed(folder), examples)
    for name, records in tables.items():
        lines = [json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in records]
        # The outcome, which is the last file of a run, puts the names on the disk, too.
        write_text(folder / table_file(name), "".join(lines), waits_for_name=False)
    return tables
