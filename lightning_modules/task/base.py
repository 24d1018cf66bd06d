"""The base of every task: which rows it reads, how they become tensors, its loss and metrics.

The life of a row: the data set reads its `cells` and checks it with `check_row` and `check_rows`.
`encode` turns it into examples, usually one. `forward` runs the network on a batch of examples and
`loss_sum` trains it. `observe` keeps the tensors of an output that `score`, `decode` and `tables`
need later; they are written to a file. The base class does what most tasks need.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from lightning_modules.batch.type import LABELS_ON_HOST, Batch
from lightning_modules.error import Problem, Verbatim, did_you_mean
from lightning_modules.model.kind import Kind
from lightning_modules.rows.cell import Cell, Refused
from lightning_modules.rows.columns import Columns
from lightning_modules.rows.corpus import Corpus, Row, normalized
from lightning_modules.rows.digest import digests_of
from lightning_modules.schema import Schema, member_of
from lightning_modules.text.length import MAX_LENGTH, NO_LIMIT, Lengths
from lightning_modules.text.shown import Shown, labelled

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.model.base import Model

Direction = Literal["maximize", "minimize"]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]

STANDARD_FIELDS = ("text", "text_pair", "label")
"""Fields of a row whose columns `data.text`, `data.text_pair` and `data.label` name."""
REFERENCE = "reference"
"""Column of an example with what the pretrained network says of it."""
MISTAKES = "mistakes"
"""Name of every task's table of its worst mistakes."""
NUM_MISTAKES = 100
"""Most rows in that table."""
GENERATED = "generated"
"""Name of every task's table of generated texts."""


@dataclass(frozen=True)
class Baseline:
    """The score of a guess that reads no row: a useful model must beat it.

    Attributes:
        guess: Description of the guess, e.g. `always 'positive'`.
        score: Its value of the task's `metric`.

    """

    guess: str
    score: float


@dataclass(frozen=True)
class Examples:
    """Rows, and what is needed to interpret the network's outputs for them.

    Attributes:
        rows: The rows as they are in the corpus.
        labels: The labels in class-number order; empty if the task has no classes.
        tokenizer: The tokenizer that made the network's inputs.
        max_length: Most tokens of an input; None if unknown.

    """

    rows: Sequence[Row]
    labels: Sequence[str]
    tokenizer: PreTrainedTokenizerBase
    max_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Task(Schema):
    """A task.

    Attributes:
        metric: The validation metric that is reported, and the study's objective. Whether it also
            chooses the best checkpoint and the winner is `trainer.select`.
        text: Column with the input; default of `data.text`.
        text_pair: Column with a second text, or None; default of `data.text_pair`.
        label: Column with the target, or None; default of `data.label`.

    """

    metric: str
    text: str
    text_pair: str | None
    label: str | None

    auto_class: ClassVar[str]
    """The transformers Auto class with the head for this task."""
    directions: ClassVar[Mapping[str, Direction]]
    """The metrics of the task, with "maximize" or "minimize"; see `goals`."""
    cells: ClassVar[Mapping[str, Cell]]
    """The fields of a row and their cell types: "text", "text_pair", "label" or some of them, and
    fields of the task's own, whose columns its settings of the same names are."""
    kinds: ClassVar[tuple[Kind, ...]] = tuple(Kind)
    """The kinds of models that can learn the task."""
    optional: ClassVar[frozenset[str]] = frozenset(("text_pair",))
    """Fields that the data may lack."""
    label_fields: ClassVar[frozenset[str]] = frozenset(("label",))
    """Fields that rows to predict lack."""
    not_inputs: ClassVar[frozenset[str]] = frozenset(("labels",))
    """Columns from `encode` that are not passed to the network."""
    takes_apart: ClassVar[bool] = False
    """Whether an example is several texts, which `forward` takes apart."""
    writes_specials: ClassVar[bool] = False
    """Whether templates write special tokens around the texts of rows."""
    compares_in_batch: ClassVar[bool] = False
    """Whether the loss of an example depends on the others of its batch."""
    shares_passes: ClassVar[bool] = False
    """Whether `forward` calls the network once and uses only `logits` of what it returns, so that
    rows of several trials can pass at once (`lightning_modules.fit.pack`)."""
    reads_instructions: ClassVar[bool] = False
    """Whether rows may be conversations, or prompts in several columns with an answer."""
    loss_settings: ClassVar[frozenset[str]] = frozenset()
    """Keys that only the loss depends on; an exported model does not need them."""
    decoded: ClassVar[tuple[str, ...]] = ("prediction", "scores")
    """Keys that `decode` may return for a row."""
    scoring_columns: ClassVar[frozenset[str]] = frozenset()
    """Columns from `encode` that scoring needs and training does not."""
    smooth_metric: ClassVar[str | None] = None
    """The metric that stands for the log loss and the Brier score in `trainer.select`, if the task
    has neither."""

    def problems(self) -> Iterator[Problem]:
        if self.metric not in self.goals:
            yield self.unknown_metric()

    def unknown_metric(self) -> Problem:
        """Return why `metric` is none of the task's."""
        known = ", ".join(self.goals)
        fix = did_you_mean(self.metric, self.goals)
        return Problem("metric", f"must be one of {known}", self.metric, fix)

    @property
    def goals(self) -> Mapping[str, Direction]:
        """Every metric that is scored, with its direction: `directions`, and what settings add."""
        return self.directions

    @property
    def cache_key(self) -> str:
        """Return the cache key: tasks with equal keys share rows, examples and networks."""
        excluded = {"metric", *self.loss_settings}
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        kept = {name: value for name, value in values.items() if name not in excluded}
        return f"{type(self).__module__}.{type(self).__name__}({kept})"

    @property
    def direction(self) -> Direction:
        """Return the direction of `metric`: "maximize" or "minimize"."""
        return self.goals[self.metric]

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` of `metric` is strictly better."""
        return value > than if self.direction == "maximize" else value < than

    def beats(self, value: float, baseline: Baseline) -> bool:
        """Return whether `value` of `metric` is better by more than float32 rounding."""
        return abs(value - baseline.score) > 1e-6 and self.better(value, baseline.score)

    @property
    def own_fields(self) -> tuple[str, ...]:
        """The fields of a row whose columns are settings of the task, not of the data."""
        return tuple(field for field in self.cells if field not in STANDARD_FIELDS)

    def check(self, model: Model) -> None:
        """Raise ConfigError if the model cannot do what the settings require; load nothing."""

    def check_row(self, row: Row) -> tuple[str, Refused] | None:
        """Return the field that does not fit the row's other fields, and why; None if all fit."""
        return None

    def check_rows(self, rows: Sequence[Row], source: str) -> None:
        """Raise DataError if the training rows, read from `source`, cannot be what was meant."""

    def unsplittable(self, rows: Sequence[Row], num_rows: int, split: str, source: str) -> Problem:
        """Return why `split` could not be taken from `rows`, part of `num_rows` in `source`."""
        rule = f"must have at least two different texts to take {split} rows from"
        fix = f"Add rows, or set data.{split}."
        return Problem("data.train", rule, Verbatim(f"{num_rows} rows"), fix)

    def labels(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the labels in class-number order; raise DataError if they cannot be used."""
        return ()

    def fit_to_rows(self, corpus: Corpus, labels: Sequence[str]) -> Self:
        """Return the task with the values computed from the training rows, e.g. label weights.

        Called once before each training, for all ranks. Raise DataError if a setting does not fit
        the rows.
        """
        return self

    def fit_to_model(self, model: Model) -> Self:
        """Return the task with the settings that the model decides; called before each training."""
        return self

    def model_notes(self, model: Model) -> Iterator[str]:
        """Yield what a user must know about the model before it is trained for the task."""
        return iter(())

    @property
    def state(self) -> Mapping[str, Any]:
        """What `fit_to_*` found and scores or predictions need, as JSON values.

        The run stores it, and so does an export.
        """
        return {}

    def from_state(self, state: Mapping[str, Any]) -> Self:
        """Return the task that `fit_to_*` returned, given its `state`."""
        return self

    @property
    def shift_and_scale(self) -> tuple[float, float] | None:
        """The m and s of predictions that are m + s * logit; None if they are something else.

        An export takes them into the head, and then has m = 0 and s = 1, which are the keys
        `center` and `scale` of `state`.
        """
        return None

    def try_metric(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        """Raise ConfigError if a metric of the user's own fails on rows that are answered right."""

    def check_known(self, rows: Sequence[Row], labels: Sequence[str]) -> None:
        """Raise DataError if rows have labels that the model does not know."""

    def text_of(self, row: Row) -> str:
        """Return the row's texts, one per line."""
        texts = [row[field] for field in ("text", "text_pair") if field in row]
        return "\n".join(text if isinstance(text, str) else " ".join(text) for text in texts)

    def identity(self, row: Row) -> str:
        """Return a key that is equal for rows that differ only in case, space and label."""
        return normalized(self.text_of(row))

    def identities(self, rows: Sequence[Row]) -> NDArray[Any]:
        """Return a number for each row, (N,), equal where `identity` is (`rows.digest`)."""
        return digests_of(rows, self.identity, self._identity_name)

    @property
    def _identity_name(self) -> str:
        return f"identity of {self.cache_key}"

    def near_key(self, row: Row) -> str:
        """Return the normalized texts of a row, one per line: near duplicates are near in each."""
        return self.identity(row)

    def group(self, row: Row) -> str:
        """Return a key that is equal for rows that must go to the same split."""
        return self.identity(row)

    def known_groups(self, rows: Sequence[Row], group_N: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of rows' groups, (N,); rows remember them if they are identities."""
        if isinstance(rows, Columns) and type(self).group is Task.group:
            return rows.values(self._identity_name, lambda: group_N)
        return group_N

    def stratum(self, row: Row) -> str:
        """Return the row's stratum: every split gets the same share of each stratum."""
        return ""

    def required(self, row: Row) -> Iterator[str]:
        """Yield the kinds in a row that the training rows must also have after a random split."""
        return iter(())

    def notes(self, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
        """Yield warnings about the rows that are worth reading before training."""
        return iter(())

    def texts(self, row: Row) -> Iterator[str]:
        """Yield every text of a row that a tokenizer must be able to encode."""
        yield from (str(row[field]) for field in ("text", "text_pair") if field in row)

    @property
    def needs_reference(self) -> bool:
        """Whether loss or metrics compare the network with the pretrained one, the reference.

        If the pretrained one cannot be had by switching an adapter off, `reference` is computed for
        each example before the training, and kept in the column `REFERENCE`.
        """
        return False

    def reference(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        """Return what is compared, as the column `REFERENCE`; the network is the pretrained one."""
        raise NotImplementedError

    @property
    def packs_rows(self) -> bool:
        """Whether rows are joined into examples of equal length, so that they do not count."""
        return False

    @property
    def is_stream(self) -> bool:
        """Whether examples are blocks of one stream, where a training window starts anywhere."""
        return False

    @abstractmethod
    def encode(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples; rows without a label get no `labels` column.

        If a row can become more or fewer than one example, a column `row` holds the index in
        `rows` of each example's row, and a column `number` counts the examples from 0. A large
        split is encoded in parts, so no other column of an example may depend on other rows,
        unless the result is valid wherever the parts end.
        """

    @property
    def packs_training(self) -> bool:
        """Whether `encode_training` joins the examples of training rows."""
        return False

    def encode_training(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples to train on."""
        return self.encode(rows, tokenizer, max_length, labels)

    def encode_unlabelled(
        self, rows: Sequence[Row], tokenizer: Any, max_length: int, labels: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return columns of examples to predict: one per row, without labels."""
        return self.encode(rows, tokenizer, max_length, labels)

    def may_cut(self, row: Row) -> bool:
        """Return whether a setting may cut rows like this one."""
        return True

    def lengths(
        self, rows: Sequence[Row], tokenizer: Any, labels: Sequence[str]
    ) -> Iterator[Lengths]:
        """Yield the lengths of what a setting may cut, e.g. of the texts."""
        columns = self.encode(rows, tokenizer, NO_LIMIT, labels)
        tokens = [len(ids) for ids in columns["input_ids"]]
        yield Lengths("texts", MAX_LENGTH, tokens, "lose their end")

    def shown(self, columns: Mapping[str, list[Any]], number: int, row: Row) -> Iterator[Shown]:
        """Yield the parts of an example, with what of it is trained.

        Args:
            columns: What `encode_training` returned.
            number: The example's number in them.
            row: Its row.

        """
        yield Shown("input", columns["input_ids"][number])
        if "label" in row:
            yield labelled(row["label"])

    def encoding_notes(self, rows: Sequence[Row], tokenizer: Any) -> Iterator[str]:
        """Yield warnings about how the tokenizer makes examples of the training rows."""
        return iter(())

    def config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the changes to the network's configuration, e.g. `num_labels`."""
        return {}

    def configure_network(self, network: Any) -> None:
        """Set what a loaded network holds besides its weights, e.g. generation settings."""

    def network_notes(self, network: Any) -> Iterator[str]:
        """Yield warnings about a network on its device that are worth reading before training."""
        return iter(())

    def packing_notes(self, network: Any) -> Iterator[str]:
        """Yield a warning if a network that trains on packed rows lets them see each other.

        Raise ConfigError if it must not train on them.
        """
        return iter(())

    def validation_examples(self, examples: Dataset) -> Dataset:
        """Return the encoded validation rows with any columns that validation adds."""
        return examples

    def num_written(self, num_examples: int) -> int:
        """Return for how many of the first validation examples the network writes a text.

        These are in batches of their own. A text takes one pass per token, for one example or for
        many, so those of a few examples in each batch would take many times as long.
        """
        return 0

    def with_totals(self, batch: Batch) -> Batch:
        """Return a whole batch with columns that its micro-batches need to know about all of it."""
        return batch

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the part of a batch that the network receives; the task computes the loss."""
        left_out = {*self.not_inputs, LABELS_ON_HOST}
        return {name: tensor for name, tensor in batch.items() if name not in left_out}

    def width(self, batch: Batch) -> int:
        """Return the tokens per example, padding included, that the network reads and writes."""
        ids_BT = batch.get("input_ids")
        return 1 if ids_BT is None else int(ids_BT.shape[1])  # a frozen network has read them

    def forward(self, network: Any, batch: Batch) -> Any:
        """Return the network's output for a batch."""
        return network(**self.inputs(batch))

    @abstractmethod
    def num_targets(self, batch: Batch) -> float | Tensor:
        """Return the divisor of the summed loss.

        It is a tensor if computing it on the host would synchronize the GPU.
        """

    @abstractmethod
    def loss_sum(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss summed over the batch's targets, a scalar."""

    @abstractmethod
    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        """Return the tensors to keep from one batch, on the CPU, with one entry per example.

        Args:
            network: The network in evaluation mode, for outputs beyond `output`.
            output: What `forward` returned.
            batch: The batch, with or without labels.

        All dimensions but the first may differ between batches; later the ends are padded with
        `IGNORED`.
        """

    @abstractmethod
    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        """Return every metric of `goals` over the joined observations."""

    def scores(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        """Return what `score` does, and the metric of the user's own if there is one."""
        return self.score(observed, examples)

    def row_values(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Sequence[float] | None:
        """Return each row's value if `metric` is the mean of the rows' values, else None."""
        return None

    def num_scored(self, observed: Mapping[str, Tensor], examples: Examples) -> int:
        """Return how many of the first observations count for `metric`; 0 if this is unknown.

        By default all do if there is one per row.
        """
        num_observed = min(map(len, observed.values()), default=0)
        return num_observed if num_observed == len(examples.rows) else 0

    def scorer(
        self, observed: Mapping[str, Tensor], examples: Examples
    ) -> Callable[[Sequence[int]], float]:
        """Return the function from some of the observations, by number, to `metric` over them."""

        def score_of(kept: Sequence[int]) -> float:
            part = {name: tensor[list(kept)] for name, tensor in observed.items()}
            rows = [examples.rows[number] for number in kept]
            return self.scores(part, replace(examples, rows=rows))[self.metric]

        return score_of

    @abstractmethod
    def decode(self, observed: Mapping[str, Tensor], examples: Examples) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}` for each row, with `scores` by label if it has any."""

    def tables(self, observed: Mapping[str, Tensor], examples: Examples) -> Tables:
        """Return tables for a person to review, by name: flat records of JSON values.

        Args:
            observed: The joined observations, in the order of the examples.
            examples: The labelled rows, and what is needed to interpret the observations.

        """
        return {}

    def baseline(self, rows: Sequence[Row]) -> Baseline | None:
        """Return the baseline on these labelled rows; None if the metric has none."""
        return None

    def constant_guess(self, examples: Examples) -> Baseline | None:
        """Return the score of a guess that is the same for every row; None if it has none."""
        return self.baseline(examples.rows)

    def constant_prediction(self, tables: Tables) -> str | None:
        """Return a sentence if `tables` shows that all predictions are the same, else None."""
        return None

    def form_of(self, rows: Sequence[Row]) -> str | None:
        """Return a word for the form of the rows, if `as_trained` needs it; the run keeps it."""
        return None

    def prompt_of(self, form: str | None) -> str | None:
        """Return the template that writes the prompts of rows from their columns; else None.

        Args:
            form: What `form_of` returned for the training rows.

        """
        return None

    def as_trained(self, form: str | None, tokenizer: Any) -> Task:
        """Return the task as an export shows it, whose `usage_lines` ask as the rows did.

        Args:
            form: What `form_of` returned for the training rows.
            tokenizer: The tokenizer, which is exported; it may be changed.

        """
        return self

    def export_files(self, network: Any, max_length: int) -> Mapping[str, Any]:
        """Return what an export has besides the network for other libraries: JSON by path."""
        return {}

    def usage(self, auto_class: str | None = None) -> str:
        """Return Python code that loads the model in "." with transformers and runs it once."""
        auto = auto_class or self.auto_class
        return f"""\
from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
{self.usage_lines()}"""

    def usage_lines(self) -> str:
        """Return the lines of `usage` that call `model` and `tokenizer`."""
        return ""

    def usage_of_logits(self) -> str:
        """Return a Python expression for the prediction, given a text's `logits` and `labels`."""
        return "logits.tolist()"


def without_reference(task: Task) -> Problem:
    """Return what is wrong where the network before the training is missing."""
    rule = f"task={member_of(task)} compares with the model before training, so it must be there"
    fix = (
        "Evaluate the study or the run: finesweep evaluate study=NAME. An export with merge=false "
        "has it, too."
    )
    return Problem("model", rule, Verbatim("an export without it"), fix)
