"""The base of tasks with one prediction per text, or per pair of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class SequenceTask(Task):
    """A task with one prediction per text."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.text,
        "text_pair": cell.text,
        "label": cell.label,
    }

    def near_key(self, row: Row) -> str:
        # Not joined: pairs that share a long text may differ in a short one.
        return "\n".join(normalized(row[field]) for field in ("text", "text_pair") if field in row)

    @abstractmethod
    def targets(self, rows: Sequence[Row], labels: Sequence[str]) -> list[Any]:
        """Return the `labels` column for labelled rows."""

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        texts = [row["text"] for row in rows]
        pairs = [row["text_pair"] for row in rows] if rows and "text_pair" in rows[0] else None
        columns = dict(tokenizer(texts, pairs, truncation=True, max_length=max_length))
        if rows and "label" in rows[0]:
            columns["labels"] = self.targets(rows, labels)
        return columns

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
        }
