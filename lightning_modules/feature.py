"""Run a network's frozen part once per example, and train what is above it on its outputs.

A strategy's `stem` names the frozen part. It computes the same in every epoch and in every trial,
so its outputs stay in memory, and each further batch, validation or trial costs only what is
trained. The results are those of the whole network up to rounding: a sum over padded texts depends
on which texts are padded together.

Not done for runs of less than one epoch, which would read rows that they do not train on, for
outputs of more than `MAX_BYTES` per split, nor for tasks whose examples are several texts.

Shapes: N examples, D width of the frozen part's output.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_modules.batch.micro import Limit, micro_batches, num_examples
from lightning_modules.batch.order import evaluation_batches
from lightning_modules.batch.tokenize import lengths_of
from lightning_modules.machine.hardware import Hardware, Precision
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from datasets import Dataset

    from lightning_modules.batch.type import Batch
    from lightning_modules.cache import Cache
    from lightning_modules.datamodule import TextDataModule
    from lightning_modules.hooks import Hooks
    from lightning_modules.run import Run

MAX_BYTES = 1_000_000_000
"""Most bytes of the features of one split; those of 600,000 rows at a width of 384."""
OTHER_BYTES = 2_000_000_000
"""How much features that are not in use may take together."""


def use_features(
    data: TextDataModule,
    run: Run,
    network: nn.Module,
    hardware: Hardware,
    cache: Cache,
    hooks: Hooks,
) -> None:
    """Let `data` return features in place of inputs, if the run's strategy has a stem.

    Args:
        data: The run's batches.
        run: The run.
        network: Its adapted network.
        hardware: Where and in which precision the run trains.
        cache: Keeps the features for later runs with the same rows and the same frozen part.
        hooks: Told of the progress; may interrupt.

    Raises:
        Stopped: Interrupted, or one example does not fit into memory.

    """
    stem = run.strategy.stem(network)
    if run.task.takes_apart or stem is None or data.length.num_steps < data.length.steps_per_epoch:
        return
    place = next(network.parameters()).device
    same = (run.strategy.cache_key, run.model, run.seed, hardware.precision, place)

    def features_of(dataset: Dataset) -> Tensor | None:
        reader = _Reader(stem, run, place, hardware.precision, hooks)
        key, read = (*same, dataset._fingerprint), partial(reader.read, data, dataset)
        return cache.get_or_make_large("features", key, read, _size, OTHER_BYTES)

    network.eval()
    data.replace_inputs(features_of)


class _Reader:
    """Passes examples through the stem."""

    def __init__(
        self,
        stem: Callable[..., Tensor],
        run: Run,
        place: torch.device,
        precision: Precision,
        hooks: Hooks,
    ) -> None:
        self._stem = stem
        self._task = run.task
        self._place = place
        # The same mixed precision as Lightning's training.
        self._mixed = partial(
            torch.autocast, place.type, torch.bfloat16, enabled=precision is Precision.bf16
        )
        self._hooks = hooks
        self._limit = Limit(tokens=run.trainer.first_tokens)

    def read(self, data: TextDataModule, dataset: Dataset) -> Tensor | None:
        """Return the features of all examples, (N, D) in fp32 on the CPU; None if too large."""
        began, lengths = time.monotonic(), lengths_of(dataset)
        batches = evaluation_batches(lengths)
        features: Tensor | None = None
        num_read = 0
        for rows, batch in zip(batches, data.loader(dataset, batches), strict=True):
            self._hooks.heartbeat(f"computing features, example {num_read} of {len(lengths)}")
            if self._hooks.interrupted():
                raise Stopped(Ending.interrupted, "interrupted while it computed features")
            part = self._read_batch(batch)
            if features is None:
                num_bytes = part[0].nbytes * len(lengths)
                if num_bytes > MAX_BYTES:
                    self._hooks.warn(_too_large(len(lengths), num_bytes))
                    return None
                features = part.new_empty(len(lengths), *part.shape[1:])
            features[torch.tensor(rows)] = part
            num_read += len(rows)
        self._hooks.on_features(num_read, time.monotonic() - began)
        return features

    def _read_batch(self, batch: Batch) -> Tensor:
        batch = {name: tensor.to(self._place) for name, tensor in batch.items()}
        width = self._task.width(batch)
        while True:
            size = self._limit.size(num_examples(batch), width)
            part = unless_out_of_memory(partial(self._pass, batch, size))
            if part is not None:
                return part
            self._limit = self._limit.halved(size, width)

    def _pass(self, batch: Batch, size: int) -> Tensor:
        with torch.no_grad(), self._mixed():
            pieces = micro_batches(batch, size)
            parts = [self._stem(**self._task.inputs(piece)).float().cpu() for piece in pieces]
        return torch.cat(parts)


def _size(features: Tensor | None) -> int:
    return 0 if features is None else int(features.nbytes)


def _too_large(num_rows: int, num_bytes: int) -> str:
    return (
        f"the frozen part runs again in every epoch: its outputs for {num_rows:,} examples take "
        f"{num_bytes / 1e9:.1f} GB, more than the {MAX_BYTES / 1e9:.0f} GB that are kept"
    )
