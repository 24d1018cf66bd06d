"""The base of tasks with one prediction per text, or per pair of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from lightning_modules.error import Problem
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Row, normalized
from lightning_modules.task.base import Direction, Examples, Task
from lightning_modules.task.own_metric import (
    DIRECTIONS,
    NUM_TRIED,
    direction_problems,
    is_own,
    own_score,
)
from lightning_modules.text.encode import read_texts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SequenceTask(Task):
    """A task with one prediction per text.

    Attributes:
        metric_direction: `maximize` or `minimize` if `metric` is a function of the user's own, e.g.
            `my_package.metrics:score` (`task.own_metric`); else None.

    """

    metric_direction: str | None

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    shares_passes: ClassVar[bool] = True
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.text,
        "text_pair": cell.text,
        "label": cell.label,
    }

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from direction_problems(self.metric, self.metric_direction)

    @property
    def goals(self) -> Mapping[str, Direction]:
        if not is_own(self.metric):
            return self.directions
        known = self.metric_direction in DIRECTIONS  # else it is a problem of its own
        direction = self.metric_direction if known else DIRECTIONS[0]
        return {**self.directions, self.metric: cast(Direction, direction)}

    def scores(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        scores = super().scores(observed, examples)
        if is_own(self.metric):
            answers = self.decode(observed, examples)
            scores[self.metric] = own_score(self.metric, answers, examples.rows)
        return scores

    def try_metric(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        if is_own(self.metric):
            tried = rows[:NUM_TRIED]
            own_score(self.metric, [self.right_answer(row, labels) for row in tried], tried)

    @abstractmethod
    def right_answer(self, row: Row, labels: Sequence[str]) -> dict[str, Any]:
        """Return what `decode` would of a labelled row if the network were right and sure."""

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
        columns = read_texts(tokenizer, texts, pairs, max_length)
        if rows and "label" in rows[0]:
            columns["labels"] = self.targets(rows, labels)
        return columns

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
        }
