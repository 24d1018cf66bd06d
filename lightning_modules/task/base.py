"""What a task decides: which rows it reads, how they become tensors, its loss and its metrics.

The way of a row: the data read `cells` of it and `check` what only several rows show; `encode`
makes examples of it, usually one; the network answers a batch of these in `forward`; `loss_sum`
trains; `observe` keeps of an answer what `score`, `decode` and `tables` need later, as tensors
that go to a file. The base class does what most tasks do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from lightning_modules.batch.type import Batch
from lightning_modules.error import Problem, Verbatim, did_you_mean
from lightning_modules.model.kind import Kind
from lightning_modules.rows.cell import Cell, Refused
from lightning_modules.rows.corpus import Corpus, Row, normalized
from lightning_modules.schema import Schema

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model

Direction = Literal["maximize", "minimize"]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]

MISTAKES = "mistakes"
"""What every task calls its table of the rows that it got most wrong."""
NUM_MISTAKES = 100
"""How many of them are kept at most."""
GENERATED = "generated"
"""What every task that writes text calls its table of what it wrote."""


@dataclass(frozen=True)
class Baseline:
    """What is had without reading a row: the least that a model has to beat.

    Attributes:
        guess: How, as `always 'positive'`.
        score: The value of the task's `metric` that it has.

    """

    guess: str
    score: float


@dataclass(frozen=True)
class Examples:
    """Rows, with what is needed to understand a network's answers to them.

    Attributes:
        rows: The rows as they are in the corpus.
        labels: The labels in the order of their class numbers; none where a task has no classes.
        tokenizer: What made the network's inputs.

    """

    rows: Sequence[Row]
    labels: Sequence[str]
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Task(Schema):
    """A task.

    Attributes:
        metric: The validation metric that decides: best checkpoint (on a tie the validation loss
            does), objective, winner.
        text: Column of what is read; `data.text` reads it.
        text_pair: Column of a second text, None for none; `data.text_pair` reads it.
        label: Column of what is predicted, None for none; `data.label` reads it.

    """

    metric: str
    text: str
    text_pair: str | None
    label: str | None

    auto_class: ClassVar[str]
    """The transformers Auto class whose head fits the task."""
    directions: ClassVar[Mapping[str, Direction]]
    """Every metric of the task, with "maximize" or "minimize"."""
    cells: ClassVar[Mapping[str, Cell]]
    """The fields of a row: "text", "text_pair", "label" or some of them, and what each holds."""
    kinds: ClassVar[tuple[Kind, ...]] = tuple(Kind)
    """The kinds of models that can learn it."""
    optional: ClassVar[frozenset[str]] = frozenset(("text_pair",))
    """Fields that data may lack."""
    not_inputs: ClassVar[frozenset[str]] = frozenset(("labels",))
    """Columns of `encode` that the network is not given."""
    loss_settings: ClassVar[frozenset[str]] = frozenset()
    """Keys that the loss alone depends on: an exported model has no use for them."""
    decoded: ClassVar[tuple[str, ...]] = ("prediction", "scores")
    """What `decode` may say of a row."""
    scoring_columns: ClassVar[frozenset[str]] = frozenset()
    """Those of them that training does not need."""

    def problems(self) -> Iterator[Problem]:
        if self.metric not in self.directions:
            known = ", ".join(self.directions)
            fix = did_you_mean(self.metric, self.directions)
            yield Problem("metric", f"must be one of {known}", self.metric, fix)

    @property
    def cache_key(self) -> str:
        """Say what rows, examples and networks are made by: tasks that agree in it share them."""
        apart = {"metric", *self.loss_settings}
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        told = {name: value for name, value in kept.items() if name not in apart}
        return f"{type(self).__module__}.{type(self).__name__}({told})"

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

    def check(self, model: Model) -> None:
        """Raise ConfigError where the model cannot do what the task's values ask; load nothing."""

    def check_row(self, row: Row) -> tuple[str, Refused] | None:
        """Return the field of a row that does not fit its others, and why, or None."""
        return None

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        """Raise DataError where the training rows, read from `source`, cannot be meant."""

    def unsplittable(self, rows: Sequence[Row], num_rows: int, split: str, source: str) -> Problem:
        """Return why no rows of `split` could be taken from these, of `num_rows` in `source`."""
        rule = f"must have at least two different texts to take {split} rows from"
        fix = f"Add rows, or set data.{split}."
        return Problem("data.train", rule, Verbatim(f"{num_rows} rows"), fix)

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels in the order of their class numbers; raise DataError."""
        return ()

    def fit_to_rows(self, corpus: Corpus, labels: Sequence[str]) -> Self:
        """Return the task with what only the training rows tell, as the weights of labels.

        Called before each training, on every rank's behalf; raise DataError where a value of the
        task does not fit the rows.
        """
        return self

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        """Raise DataError where rows have labels that a model does not know."""

    def text_of(self, row: Row) -> str:
        """Return the row's texts as they are written."""
        found = [row[field] for field in ("text", "text_pair") if field in row]
        return "\n".join(text if isinstance(text, str) else " ".join(text) for text in found)

    def identity(self, row: Row) -> str:
        """Return what two rows share that are the same but for case, space and label."""
        return normalized(self.text_of(row))

    def group(self, row: Row) -> str:
        """Return what rows share that must go to the same split."""
        return self.identity(row)

    def stratum(self, row: Row) -> str:
        """Return what splits shall have the same shares of."""
        return ""

    def required(self, row: Row) -> Iterator[str]:
        """Yield what of a row the training rows must have too, where a file is split by chance."""
        return iter(())

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        """Yield what a careful colleague would point out about the rows."""
        return iter(())

    def texts(self, row: Row) -> Iterator[str]:
        """Yield all that a tokenizer must be able to write down of a row."""
        yield from (str(row[field]) for field in ("text", "text_pair") if field in row)

    @property
    def is_stream(self) -> bool:
        """Whether examples are blocks of one stream, on which training windows begin anywhere."""
        return False

    @abstractmethod
    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples; rows without a label get no `labels` column.

        A row that becomes any other number of examples than one is named, by its place in `rows`,
        in a column `row`; a column `number` counts the examples from 0. A large split is encoded
        in parts, so nothing else of an example may depend on another row, unless it does not
        matter where the parts end.
        """

    def encode_asked(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples to be answered, one a row, which has no label."""
        return self.encode(rows, tokenizer, max_length, labels)

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return what the task changes in a network's configuration, as `num_labels`."""
        return {}

    def configure_network(self, network: Any) -> None:
        """Change in place what a loaded network carries besides its weights, as how it writes."""

    def validated(self, examples: Dataset) -> Dataset:
        """Return the encoded validation rows as a training looks at them."""
        return examples

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the network is given of a batch: the loss is the task's own."""
        return {name: tensor for name, tensor in batch.items() if name not in self.not_inputs}

    def forward(self, network: Any, batch: Batch) -> Any:
        """Return the network's answer to a batch."""
        return network(**self.inputs(batch))

    @abstractmethod
    def num_targets(self, batch: Batch) -> float | Tensor:
        """Return what the summed loss is divided by; a tensor where a GPU would be waited for."""

    @abstractmethod
    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss summed over the batch's targets, a scalar."""

    @abstractmethod
    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return what is to be kept of one batch, on the CPU: tensors of one entry an example.

        Args:
            network: The network, in evaluation mode, for answers beyond `output`.
            output: What `forward` returned.
            batch: The batch, with or without its labels.

        Tensors of different batches may differ in all sizes but the first, and are padded with
        `IGNORED` at their ends.
        """

    @abstractmethod
    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        """Return every metric of `directions` over all observations joined."""

    @abstractmethod
    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` of each label if it has any."""

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return tables that a person reviews, by name: flat records of JSON values.

        Args:
            observed: All observations joined, in the order of the examples.
            examples: The labelled rows, and how to read the observations.

        """
        return {}

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        """Return what guessing without reading has on these labelled rows; None has no such."""
        return None

    def constant_prediction(self, tables: Tables) -> str | None:
        """Return in words that all predictions are the same, by what `tables` gave, or None."""
        return None

    def usage(self, folder: str = ".") -> str:
        """Return Python lines that load an exported model with transformers and use it once."""
        return f"""\
from transformers import {self.auto_class}, AutoTokenizer

model = {self.auto_class}.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
{self.usage_lines()}"""

    def usage_lines(self) -> str:
        """Return the lines of `usage` that use `model` and `tokenizer`."""
        return ""

    def usage_of_logits(self) -> str:
        """Return the Python expression of an answer, made of a text's `logits` and the `labels`."""
        return "logits.tolist()"
