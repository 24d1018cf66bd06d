"""What a task decides: which labels there are, how rows become tensors, loss and metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lightning_modules.data.base import Corpus, Row
from lightning_modules.error import Problem, did_you_mean
from lightning_modules.schema import Schema

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]
Direction = Literal["maximize", "minimize"]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]

MISTAKES = "mistakes"
"""What every task calls its table of the rows that it got most wrong."""
NUM_MISTAKES = 100
"""How many of them are kept at most."""


@dataclass(frozen=True)
class Baseline:
    """What is had without reading a row: the least that a model has to beat.

    Attributes:
        guess: How, as `always 'positive'`.
        score: The value of the task's `metric` that it has.

    """

    guess: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Task(Schema):
    """A task.

    Attributes:
        metric: The validation metric that decides: best checkpoint (on a tie the validation loss
            does), objective, winner.

    """

    metric: str

    auto_class: ClassVar[str]
    """The transformers Auto class whose head fits the task."""
    directions: ClassVar[Mapping[str, Direction]]
    """Every metric of the task, with "maximize" or "minimize"."""

    def problems(self) -> Iterator[Problem]:
        if self.metric not in self.directions:
            known = ", ".join(self.directions)
            fix = did_you_mean(self.metric, self.directions)
            yield Problem("metric", f"must be one of {known}", self.metric, fix)

    @property
    def direction(self) -> Direction:
        """Return "maximize" or "minimize", for `metric`."""
        return self.directions[self.metric]

    def better(self, value: float, than: float) -> bool:
        """Say whether `value` of `metric` is strictly better."""
        return value > than if self.direction == "maximize" else value < than

    def beats(self, value: float, baseline: Baseline) -> bool:
        """Say whether `value` of `metric` is better by more than the rounding of float32."""
        return abs(value - baseline.score) > 1e-6 and self.better(value, baseline.score)

    @abstractmethod
    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels in the order of their class numbers; raise DataError."""

    @abstractmethod
    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of model inputs; rows without a label get no `labels` column.

        A large split is encoded in parts, so no row's inputs may depend on another row.
        """

    @abstractmethod
    def num_targets(self, batch: Batch) -> int:
        """Return what the summed loss is divided by."""

    @abstractmethod
    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss summed over the batch's targets, a scalar."""

    @abstractmethod
    def observe(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return what `score` needs of one batch, on the CPU: tensors of one entry an example."""

    @abstractmethod
    def score(self, observed: Mapping[str, Tensor]) -> dict[str, float]:
        """Return every metric of `directions` over all observations joined."""

    @abstractmethod
    def decode(self, observed: Mapping[str, Tensor], labels: Sequence[str]) -> list[dict[str, Any]]:
        """Return `{"prediction": ..., "scores": {label: probability}}` for each example."""

    def examine(
        self, observed: Mapping[str, Tensor], rows: Sequence[Row], labels: Sequence[str]
    ) -> Tables:
        """Return tables that a person reviews, by name: flat records of JSON values.

        Args:
            observed: All observations joined, in the order of `rows`.
            rows: The labelled rows as they are in the corpus.
            labels: The labels in the order of their class numbers.

        """
        return {}

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        """Return what guessing without reading has on these labelled rows; None has no such."""
        return None

    def collapse(self, tables: Tables) -> str | None:
        """Return in words that all predictions are the same, by what `examine` gave, or None."""
        return None
