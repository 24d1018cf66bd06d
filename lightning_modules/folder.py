"""The names of the files that `fit` writes to a run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEST_FILE = "best.safetensors"
"""The trained parameters at the best validation."""
OBSERVED_FILE = "observed.safetensors"
"""What the task observed at the best validation, in the order of the rows."""
CHECKPOINT_FILE = "checkpoint.pt"
PREVIOUS_FILE = "checkpoint.previous.pt"
CHECKPOINT_FILES = (CHECKPOINT_FILE, PREVIOUS_FILE)
"""Newest first."""
CHECKPOINT_PARTS = "checkpoint.*"
"""Pattern of these, and of the best validation's files that they need, see `callback.kept`."""
OUTCOME_FILE = "outcome.json"
LABELS_FILE = "labels.json"
STATE_FILE = "found.json"
"""Only if the strategy is fitted to the rows, e.g. few-shot prompting to its shots."""
TASK_FILE = "task.json"
"""Only if the task is fitted to the rows, e.g. regression to the mean of their numbers."""
REFERENCE_FILE = "reference.safetensors"
"""What the network before the training says of each example, if the task compares with that."""
FORM_FILE = "form.json"
"""The form of the training rows, only if an export must know it, e.g. of conversations."""
START_FILES = (LABELS_FILE, STATE_FILE, TASK_FILE, REFERENCE_FILE, FORM_FILE)
"""What may be written before the first step."""
TOKENIZER_FOLDER = "tokenizer"
"""Only if the run trained its tokenizer on its rows."""


def table_file(name: str) -> str:
    """Return the file of one of the task's tables, one JSON record per line."""
    return f"{name}.jsonl"


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
