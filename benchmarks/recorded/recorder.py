"""What is kept of a run: the validation rows' logits, and what the network says of the truth."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from recorded.answer import quantized

from lightning_modules.hooks import Hooks
from lightning_modules.task.classification import Classification

if TYPE_CHECKING:
    from recorded.text import Line
    from torch import Tensor, nn

    from lightning_modules.batch.type import Batch
    from lightning_modules.cache import Cache
    from lightning_modules.outcome import Point
    from lightning_modules.run import Run
    from lightning_modules.task.base import Examples


class Truth:
    """Rows that a network is asked about and that no run sees."""

    def __init__(self, run: Run, lines: Sequence[Line], labels: Sequence[str], kept: Cache) -> None:
        import torch

        from lightning_modules.batch.collate import Collate
        from lightning_modules.batch.order import evaluation_batches
        from lightning_modules.network import build_tokenizer

        rows = [{"text": line.text, "label": line.label} for line in lines]
        tokenizer = build_tokenizer(run, (), kept)
        columns = run.task.encode(rows, tokenizer, run.data.max_length, labels)
        batches = evaluation_batches([len(each) for each in columns["input_ids"]])
        cells = zip(*columns.values(), strict=True)
        examples = [dict(zip(columns, row, strict=True)) for row in cells]
        collate = Collate(tokenizer)
        # A DataLoader would draw a random number each time it is read.
        self._batches = [collate([examples[row] for row in batch]) for batch in batches]
        self._order = torch.tensor([row for batch in batches for row in batch]).argsort()
        self.labels = np.array(columns["labels"])

    def ask(self, task: Classification, network: nn.Module) -> np.ndarray:
        """Return each row's log-probabilities of the classes."""
        import torch

        assert not network.training
        with torch.inference_mode():
            parts = [task.forward(network, batch).logits for batch in self._batches]
            logits_NC = torch.cat(parts)[self._order].double()
            answers: np.ndarray = logits_NC.log_softmax(dim=1).numpy()
            return answers


class Recorder(Hooks):
    """Gets each validation, first the logits, then the point; asks for the truth between.

    Attributes:
        validations: What the table of this name has of each one.
        logits: Those of the validation rows, an array a validation.
        answers: The number of a validation to the true rows' answers there, as bytes.
        kept: The numbers of the validations whose answers are kept.
        stop_at: The optimizer step after which the run is interrupted; None for never.
        cpu_seconds: Time of the CPU that training and validating took.
        truth_cpu_seconds: Time of the CPU that the truth took.
        truth_seconds: The same on the wall's clock.

    """

    def __init__(self, truth: Truth, scores_all: bool) -> None:
        self.validations: list[dict[str, Any]] = []
        self.logits: list[np.ndarray] = []
        self.answers: dict[int, np.ndarray] = {}
        self.kept: frozenset[int] = frozenset()
        self.stop_at: int | None = None
        self.cpu_seconds = self.truth_cpu_seconds = self.truth_seconds = 0.0
        self._truth = truth
        self._scores_all = scores_all
        self._told: dict[str, float] = {}
        self._step = 0
        self._clock = 0.0

    def branch(self) -> Recorder:
        """Return a recorder of a run that goes another way from here on."""
        branch = copy.copy(self)
        branch.validations, branch.logits = list(self.validations), list(self.logits)
        branch.answers = dict(self.answers)
        return branch

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self._clock = time.process_time()

    def on_step(self, step: int, num_steps: int) -> None:
        self._step = step

    def interrupted(self) -> bool:
        self.cpu_seconds += self._ticked()
        return self.stop_at is not None and self._step >= self.stop_at

    def heard(self, task: Classification, network: nn.Module, logits_NC: Tensor) -> None:
        """Hear what the network answers to the validation rows."""
        self.cpu_seconds += self._ticked()
        self.logits.append(logits_NC.numpy().astype(np.float16))
        number = len(self.logits)
        self._told = {}
        if number not in self.kept and not self._scores_all:
            return
        began = time.monotonic()
        answers_NC = self._truth.ask(task, network)
        labels_N = self._truth.labels
        told_N = answers_NC[np.arange(len(labels_N)), labels_N]
        self._told = {
            "truth_accuracy": float((answers_NC.argmax(axis=1) == labels_N).mean()),
            "truth_log_loss": float(-told_N.mean()),
        }
        if number in self.kept:
            self.answers[number] = quantized(answers_NC)
        self.truth_seconds += time.monotonic() - began
        self.truth_cpu_seconds += self._ticked()

    def on_validation(self, point: Point) -> str | None:
        self.cpu_seconds += self._ticked()
        values = {name: value for name, value in asdict(point).items() if name != "metrics"}
        seconds = point.seconds - self.truth_seconds
        times = {"seconds": seconds, "cpu_seconds": self.cpu_seconds}
        self.validations.append({**values, **point.metrics, **times, **self._told})
        return None

    def _ticked(self) -> float:
        """Return the time of the CPU since the last call, or since training began."""
        before, self._clock = self._clock, time.process_time()
        return self._clock - before


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded(Classification):
    """The product's classification, which tells a recorder what it scores."""

    recorder: Any = field(repr=False)

    # What runs share, e.g. tokens and weights, does not depend on the recorder.
    loss_settings: ClassVar[frozenset[str]] = Classification.loss_settings | {"recorder"}

    def observe(self, network: Any, output: Any, batch: Batch) -> dict[str, Tensor]:
        self.recorder.network = network
        return super().observe(network, output, batch)

    def score(self, observed: Mapping[str, Tensor], examples: Examples) -> dict[str, float]:
        self.recorder.heard(self, self.recorder.network, observed["logits_BC"])
        return super().score(observed, examples)
