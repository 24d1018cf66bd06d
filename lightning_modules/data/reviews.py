"""The embedded reviews: 1,000 short English reviews of twenty kinds of things, by sentiment.

Written for this project one by one, under its licence: 600 / 200 / 200 rows, each split
balanced over label and kind, with negation, irony, mixed feelings and typos among them.
Example: `{"text": "Found my parked car once, in the wrong town.", "label": "negative"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.data.base import SPLITS, Corpus, Data

PATH = Path(__file__).with_name("reviews.jsonl")


@dataclass(frozen=True, kw_only=True)
class Reviews(Data):
    """The embedded reviews."""

    def load(self) -> Corpus:
        rows = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
        return Corpus(
            {
                split: [
                    {"text": row["text"], "label": row["label"]}
                    for row in rows
                    if row["split"] == split
                ]
                for split in SPLITS
            }
        )
