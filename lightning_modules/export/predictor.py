"""Use a trained network: score it on rows, predict for rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_modules.batch.collate import Collate
from lightning_modules.batch.join import in_row_order, joined
from lightning_modules.batch.micro import Limit, micro_batches, num_examples
from lightning_modules.batch.order import evaluation_batches
from lightning_modules.batch.tokenize import encoded
from lightning_modules.batch.type import Batch
from lightning_modules.cache import Cache
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.folder import (
    BEST_FILE,
    FORM_FILE,
    OUTCOME_FILE,
    STATE_FILE,
    TASK_FILE,
    TOKENIZER_FOLDER,
)
from lightning_modules.machine.hardware import Device, Hardware, Precision, choose_hardware
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.model.files.folder import ModelFolder
from lightning_modules.model.plain import read_plainly, spelled_notes
from lightning_modules.model.tensor_file import restore_file
from lightning_modules.network import build_network, build_tokenizer
from lightning_modules.outcome import RowScores, read_outcome
from lightning_modules.reference import reference_of
from lightning_modules.rows.columns import listed
from lightning_modules.rows.corpus import Row
from lightning_modules.run import Run
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import REFERENCE, Examples, Task
from lightning_modules.task.jackknife import row_scores
from lightning_modules.text.template import own_texts
from lightning_modules.trainer import DEFAULT_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Evaluation:
    """What a network said of labelled rows.

    Attributes:
        task: Its task.
        observed: What the task kept of its outputs.
        examples: The rows.

    """

    task: Task
    observed: Mapping[str, Tensor]
    examples: Examples

    def scores(self) -> dict[str, float]:
        """Return the task's metrics."""
        return self.task.scores(self.observed, self.examples)

    def row_scores(self) -> RowScores | None:
        """Return what groups of rows contribute to the task's metric; None if that is unknown."""
        return row_scores(self.task, self.observed, self.examples)

    @property
    def num_scored(self) -> int:
        """How many examples the task's metric is of; answers may be generated for some only."""
        values = self.task.row_values(self.observed, self.examples)
        return self.task.num_scored(self.observed, self.examples) if values is None else len(values)

    @property
    def scored(self) -> str:
        """What the task's metric is of, e.g. `90 rows`."""
        number = self.num_scored
        return f"{number:,} {'rows' if number == len(self.examples.rows) else 'scored examples'}"


@dataclass(frozen=True)
class Predictor:
    """A network with everything needed to use it.

    Attributes:
        network: The network, with its head.
        tokenizer: The tokenizer for its inputs.
        task: The task it was trained for.
        labels: The names of its classes.
        max_length: Maximum tokens per text; longer texts are truncated.
        precision: Precision for scores; that of the training reproduces its scores. Predictions
            use fp32, like plain transformers with an exported model.
        strategy: Prepares the rows; None leaves them unchanged.
        untouched: Makes the network as it was before the training, for a task that compares with
            it; None if the network has it, without its adapter, or if nobody has it.
        device: Where it computes.
        heartbeat: Called before each batch.
        is_for_export: Whether an export may change the network, which is used for nothing else.
        micro_batch_tokens: The most tokens that pass through the network at once, padding included;
            None sets no limit.

    """

    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    task: Task
    labels: tuple[str, ...]
    max_length: int
    precision: Precision = Precision.fp32
    strategy: Strategy | None = None
    untouched: Callable[[], nn.Module] | None = None
    device: Device = Device.auto
    heartbeat: Callable[[], None] = lambda: None
    is_for_export: bool = False
    micro_batch_tokens: int | None = DEFAULT_TOKENS

    def score(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return the task's metrics over labelled rows."""
        return self.evaluate(rows).scores()

    def evaluate(self, rows: Sequence[Row]) -> Evaluation:
        """Return what the network says of labelled rows."""
        observed = self._observe(rows, self.precision, self.task.encode)
        return Evaluation(self.task, observed, self._examples(rows))

    def predict(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return `{"prediction": ...}`, with `scores` if there are any, for each row in order."""
        if not rows:
            return []
        labels = self.task.label_fields
        unlabelled = [{n: cell for n, cell in row.items() if n not in labels} for row in rows]
        observed = self._observe(unlabelled, Precision.fp32, self.task.encode_unlabelled)
        return self.task.decode(observed, self._examples(unlabelled))

    def notes(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield how many rows to predict spell special tokens of the model, if any do."""
        yield from spelled_notes(own_texts(rows), self.tokenizer, "rows")

    def _examples(self, rows: Sequence[Row]) -> Examples:
        return Examples(listed(rows), self.labels, self.tokenizer, self.max_length)

    def _observe(
        self, rows: Sequence[Row], precision: Precision, encode: Callable[..., dict[str, list[Any]]]
    ) -> Mapping[str, Tensor]:
        prepared = self.strategy.prepare(rows, self.tokenizer) if self.strategy else rows
        parts = encoded(
            prepared, lambda some: encode(some, self.tokenizer, self.max_length, self.labels)
        )
        examples = [
            dict(zip(columns, values, strict=True))
            for columns in parts
            for values in zip(*columns.values(), strict=True)
        ]
        batches = evaluation_batches([len(example["input_ids"]) for example in examples])
        hardware = choose_hardware(self.device, precision)
        if "labels" in examples[0]:
            self._add_reference(examples, hardware)
        device = torch.device(hardware.device.value)
        network, collate = self.network.to(device).eval(), Collate(self.tokenizer)
        observed, limit = [], Limit(tokens=self.micro_batch_tokens)
        with torch.inference_mode(), hardware.autocast():
            for batch in batches:
                self.heartbeat()
                inputs = collate([examples[index] for index in batch])
                inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
                outputs, limit = self._observe_batch(network, inputs, limit)
                observed.append(outputs)
        return in_row_order(observed, batches)

    def _add_reference(self, examples: list[dict[str, Any]], hardware: Hardware) -> None:
        """Add to the examples what the untouched network says of them, if the task needs it."""
        if not self.task.needs_reference or self.untouched is None:
            return
        network = self.untouched()
        limit = Limit(tokens=self.micro_batch_tokens)
        found = reference_of(self.task, network, examples, self.tokenizer, hardware, limit)
        for example, values in zip(examples, found.tolist(), strict=True):
            example[REFERENCE] = values

    def _observe_batch(
        self, network: nn.Module, inputs: Batch, limit: Limit
    ) -> tuple[dict[str, Tensor], Limit]:
        """Return what the task observes, and the limit under which the batch fits into memory."""
        num_virtual = self.strategy.num_virtual_tokens if self.strategy else 0
        width = self.task.width(inputs) + num_virtual
        while True:
            size = limit.size(num_examples(inputs), width)
            outputs = unless_out_of_memory(partial(self._observe_pieces, network, inputs, size))
            if outputs is not None:
                return outputs, limit
            if size == 1:
                raise ConfigError(_too_long(inputs))
            limit = limit.halved(size, width)

    def _observe_pieces(self, network: nn.Module, inputs: Batch, size: int) -> dict[str, Tensor]:
        parts = []
        for piece in micro_batches(inputs, size):
            output = self.task.forward(network, piece)
            parts.append(self.task.observe(network, output, piece))
        return joined(parts)


def load_trained(
    run: Run, folder: Path, labels: Sequence[str], *, for_export: bool = False
) -> Predictor:
    """Return the run's network with the best weights that `fit` saved in `folder`.

    Args:
        run: The run.
        folder: Its folder.
        labels: The labels in the order of their class numbers.
        for_export: Load what an export writes: on the CPU, the only copy of the network, with
            weights in the format of the model's file if the strategy supports that.

    """
    if (folder / STATE_FILE).is_file():
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        run = replace(run, strategy=run.strategy.from_state(state))
    if (folder / TASK_FILE).is_file():
        state = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))
        run = replace(run, task=run.task.from_state(state))
    if for_export:
        run = _as_in_file(replace(run, strategy=run.strategy.for_export()))
    tokenizer_folder, cache = folder / TOKENIZER_FOLDER, Cache()
    if tokenizer_folder.is_dir():
        tokenizer = read_plainly(ModelFolder(tokenizer_folder, "run").load_tokenizer())
    else:
        tokenizer = build_tokenizer(run, (), cache)
    hardware = choose_hardware(Device.auto, run.trainer.precision)
    if for_export or not run.strategy.loads_on_device:
        hardware = replace(hardware, device=Device.cpu)
    network = build_network(run, labels, None if for_export else cache, tokenizer, hardware)
    restore_file(network, folder / BEST_FILE)
    is_compared = run.task.needs_reference and not run.strategy.keeps_base
    again = partial(build_network, run, labels, Cache(), tokenizer, hardware)
    task = run.task.as_trained(form_of(folder), tokenizer) if for_export else run.task
    return Predictor(
        network,
        tokenizer,
        task,
        tuple(labels),
        run.data.max_length,
        run.trainer.precision,
        run.strategy,
        untouched=again if is_compared else None,
        is_for_export=for_export,
        micro_batch_tokens=_tokens_at_once(folder),
    )


def form_of(folder: Path) -> str | None:
    """Return the form of the training rows; None if it is that of other rows or not known."""
    path = folder / FORM_FILE
    form: str | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return form


def _as_in_file(run: Run) -> Run:
    """Return the run with the model's weights held as in their file, if they can be."""
    if not run.strategy.supports_bf16:
        return run
    return replace(run, model=run.model.settled(computes_bf16=True))


def _tokens_at_once(folder: Path) -> int | None:
    """Return the most tokens that passed at once in the training; None if it had no limit."""
    try:
        return read_outcome(folder / OUTCOME_FILE).micro_batch_tokens
    except FileNotFoundError:  # its training has not ended
        return DEFAULT_TOKENS


def _too_long(inputs: Batch) -> Problem:
    got = Verbatim(f"one of {inputs['input_ids'].shape[1]} tokens")
    fix = "Use a machine with more memory, or a model trained with a smaller data.max_length."
    return Problem("data.max_length", "an example must fit into memory", got, fix)
