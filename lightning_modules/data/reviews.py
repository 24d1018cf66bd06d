"""The embedded reviews: 1,000 short English reviews of twenty kinds of things, by sentiment.

Written one by one for this project, under its licence: 600 / 200 / 200 rows, each split balanced
over label and kind, including negation, irony, mixed feelings and typos.
Example: `{"text": "Found my parked car once, in the wrong town.", "label": "negative"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.data.base import Data
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.cell import Refused
from lightning_modules.rows.corpus import SPLITS, Corpus
from lightning_modules.rows.embedded import REVIEWS

if TYPE_CHECKING:
    from lightning_modules.task.base import Task

FIELDS = ("text", "label")


@dataclass(frozen=True, kw_only=True)
class Reviews(Data):
    """The embedded reviews."""

    def load(self, task: Task) -> Corpus:
        rows = [json.loads(line) for line in REVIEWS.read_text(encoding="utf-8").splitlines()]
        fields = [
            name
            for name in task.cells
            # The task does not use an optional field without a column.
            if (name in FIELDS and getattr(task, name) is not None) or name not in task.optional
        ]
        for field in fields:
            if field not in FIELDS or isinstance(task.cells[field](rows[0][field]), Refused):
                rule = "the reviews are texts with one label each"
                got = Verbatim(f"a task with another kind of {', '.join(fields)}")
                fix = "Use your own rows: data=files data.train=my.jsonl."
                raise ConfigError(Problem("data", rule, got, fix))
        splits = {
            split: [{name: row[name] for name in fields} for row in rows if row["split"] == split]
            for split in SPLITS
        }
        return Corpus(splits)
