"""Similarity: embeddings whose cosine says how similar two texts are.

A pair of texts has a number y for how similar they are, in any unit; t = (y - low) / (high - low)
lies from 0, nothing in common, to 1, the same meaning. Loss, for the cosine c of the embeddings:
(c - t)^2, as in sentence-transformers' CosineSimilarityLoss.
Metrics: spearman and pearson, the correlations of c and y; mse, the mean of (c - t)^2.
Example row: `{"text": "A plane takes off.", "text_pair": "An air plane lifts.", "label": 4.8}`.

Shapes: B batch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_modules.batch.type import Batch
from lightning_modules.error import DataError, Problem, Verbatim
from lightning_modules.rows import cell
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.rows.number import number
from lightning_modules.task.base import (
    MISTAKES,
    NUM_MISTAKES,
    Baseline,
    Direction,
    Examples,
    Tables,
)
from lightning_modules.task.embedding import EmbeddingTask, cosines
from lightning_modules.task.metric.correlation import pearson, spearman

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Similarity(EmbeddingTask):
    """How similar two texts are.

    Attributes:
        low: The number of texts that have nothing in common; None takes the lowest of the training
            rows.
        high: The number of texts that mean the same, > low; None takes the highest.

    """

    low: float | None
    high: float | None

    directions: ClassVar[Mapping[str, Direction]] = {
        "spearman": "maximize",
        "pearson": "maximize",
        "mse": "minimize",
    }
    cells: ClassVar[Mapping[str, cell.Cell]] = {
        "text": cell.text,
        "text_pair": cell.text,
        "label": number,
    }
    optional: ClassVar[frozenset[str]] = frozenset()
    smooth_metric: ClassVar[str | None] = "mse"

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        for name in ("low", "high"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                yield Problem(name, "must be a finite number, or null", value)
        if self.low is not None and self.high is not None and not self.low < self.high:
            yield Problem("low", f"must be < high={self.high:g}", self.low)

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        self._check(rows, f"in the {len(rows)} rows of {source}")

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return none; raise DataError if the numbers of the training rows teach nothing."""
        rows = corpus.splits["train"]
        self._check(rows, f"in the {len(rows)} training rows")
        return ()

    def _check(self, rows: Sequence[Row], where: str) -> None:
        low, high = self._range(rows)
        if len(found := {row["label"] for row in rows}) == 1 or not low < high:
            rule = "must have at least two different numbers, from task.low to task.high"
            got = Verbatim(f"{min(found):g} to {max(found):g} {where}")
            fix = (
                "Set data.label to the column with the numbers. For pairs without numbers, set "
                "task=retrieval."
            )
            raise DataError(Problem("data.label", rule, got, fix))

    def _range(self, rows: Sequence[Row]) -> tuple[float, float]:
        """Return the numbers of no and of full similarity."""
        low, high = self.low, self.high
        numbers = [row["label"] for row in rows] if low is None or high is None else []
        return min(numbers) if low is None else low, max(numbers) if high is None else high

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        low, high = self._range(splits["train"])
        if self.low is None or self.high is None:
            yield (
                f"{low:g} is learnt as nothing in common and {high:g} as the same meaning, the "
                "lowest and the highest number of the training rows; set task.low and task.high "
                "if others are meant"
            )
        numbers = [row["label"] for rows in splits.values() for row in rows]
        if outside := sum(not low <= each <= high for each in numbers):
            yield f"{outside} of {len(numbers)} rows have a number outside {low:g} to {high:g}"

    def fit_to_rows(self, corpus: Corpus, labels: Sequence[str]) -> Self:
        """Return the task with the range of the training rows."""
        low, high = self._range(corpus.splits["train"])
        # A sample of the rows, e.g. a probe's, may hold one number alone.
        return replace(self, low=low, high=high if low < high else low + 1)

    @property
    def state(self) -> Mapping[str, Any]:
        return {**super().state, "low": self.low, "high": self.high}

    def from_state(self, state: Mapping[str, Any]) -> Self:
        return replace(super().from_state(state), low=state["low"], high=state["high"])

    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        columns = super().encode(rows, tokenizer, max_length, labels)
        if rows and "label" in rows[0]:
            columns["labels"] = self._targets(rows)
        return columns

    def _targets(self, rows: Sequence[Row]) -> list[float]:
        """Return how similar each row's texts are, in [0, 1] between `low` and `high`."""
        low, high = self._range(rows)
        return [(row["label"] - low) / ((high - low) or 1) for row in rows]

    def num_targets(self, batch: Batch) -> float:
        return len(batch["labels"])

    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        cosines_B = cosines(output["text"], output["text_pair"])
        return (cosines_B - batch["labels"].float()).square().sum()

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        return {"cosine_B": cosines(output["text"], output["text_pair"]).detach().cpu()}

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        import numpy as np

        cosines_B = observed["cosine_B"].double().numpy()
        targets_B = np.array(self._targets(examples.rows), dtype=np.float64)
        assert len(cosines_B) == len(targets_B), f"{len(cosines_B)} outputs, {len(targets_B)} rows"
        scores = {
            "spearman": spearman(cosines_B, targets_B),
            "pearson": pearson(cosines_B, targets_B),
            "mse": float(((cosines_B - targets_B) ** 2).mean()),
        }
        return {name: round(value, 6) for name, value in scores.items()}

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        if self.metric != "mse":
            return None
        pairs = zip(observed["cosine_B"].tolist(), self._targets(examples.rows), strict=True)
        return [(cosine - target) ** 2 for cosine, target in pairs]

    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        return [{"prediction": round(cosine, 6)} for cosine in observed["cosine_B"].tolist()]

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return the pairs whose cosine is farthest from their number."""
        rows = [
            {**row, "cosine": round(cosine, 6), "expected": round(target, 6)}
            for row, cosine, target in zip(
                examples.rows,
                observed["cosine_B"].tolist(),
                self._targets(examples.rows),
                strict=True,
            )
        ]
        worst = sorted(rows, key=lambda row: -abs(row["cosine"] - row["expected"]))
        return {MISTAKES: worst[:NUM_MISTAKES]}

    def baseline(self, rows: Sequence[Row]) -> Baseline:
        """Return the score of the best single cosine."""
        targets = self._targets(rows)
        variance = statistics.pvariance(targets)
        guess = f"always the mean {statistics.fmean(row['label'] for row in rows):.4g}"
        return Baseline(guess, variance if self.metric == "mse" else 0.0)
