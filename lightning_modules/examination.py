"""What a training leaves for review: the task's tables about the best validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.atomic import write_text
from lightning_modules.callback.best import load_observed

if TYPE_CHECKING:
    from lightning_modules.data.base import Row
    from lightning_modules.task.base import Tables, Task


def examine(folder: Path, task: Task, rows: Sequence[Row], labels: Sequence[str]) -> Tables:
    """Write each table to `folder` as `<name>.jsonl`, a record a line; return them.

    Args:
        folder: Where the best validation is kept.
        task: Makes the tables.
        rows: The validation rows as they are in the corpus.
        labels: The labels in the order of their class numbers.

    """
    observed = load_observed(folder)
    for name, tensor in observed.items():
        assert len(tensor) == len(rows), f"{name}: {len(tensor)} observed of {len(rows)} rows"
    tables = task.examine(observed, rows, labels)
    for name, records in tables.items():
        lines = [json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in records]
        write_text(folder / f"{name}.jsonl", "".join(lines))
    return tables
