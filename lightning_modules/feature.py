"""Run a network's frozen part once per example, and train what is above it on its outputs.

A strategy's `stem` names the frozen part. It computes the same in every epoch and in every trial,
so its outputs stay on disk, mapped into memory, and each further batch, validation or trial costs
only what is trained. They are kept by content: the frozen weights, the tokens, the precision. The
results are those of the whole network up to rounding: a sum over padded texts depends on which
texts are padded together.

Not done for runs of less than one epoch, which would read rows that they do not train on, for
outputs that would take more than `FINESWEEP_CACHE_GB`, for packed texts, nor for tasks whose
examples are several texts.

Shapes: N examples, S tokens of all examples, D width of the frozen part's output.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_modules.batch.block import Windows
from lightning_modules.batch.featured import Features
from lightning_modules.batch.micro import Limit, micro_batches, num_examples
from lightning_modules.batch.order import evaluation_batches
from lightning_modules.batch.tokenize import lengths_of
from lightning_modules.machine.file import DiskFull, has_space
from lightning_modules.machine.hardware import Hardware, Precision
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.machine.store import FEATURES, max_bytes
from lightning_modules.machine.stored import stored
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datasets import Dataset

    from lightning_modules.batch.type import Batch
    from lightning_modules.cache import Cache
    from lightning_modules.datamodule import TextDataModule
    from lightning_modules.hooks import Hooks
    from lightning_modules.model.stem import Stem
    from lightning_modules.run import Run

OTHER_BYTES = 2_000_000_000
"""How much features that are not in use may take together; they are mapped, so files in memory."""
FILE, SHAPE_FILE = "features", "shape.json"


def use_features(
    data: TextDataModule,
    run: Run,
    network: nn.Module,
    hardware: Hardware,
    cache: Cache,
    hooks: Hooks,
) -> None:
    """Let `data` return features, if the run's strategy has a stem.

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
    stem = _stem(data, run, network)
    if stem is None:
        return
    place = next(network.parameters()).device
    # What `build_network` makes depends on these: on the precision if the model's dtype is auto.
    labels, num_tokens = tuple(data.validation.labels), len(data.validation.tokenizer)
    loaded = (run.strategy.cache_key, run.model, run.task.cache_key, labels, num_tokens, run.seed)
    same = (stem.name, *loaded, hardware.precision, place)
    network.eval()
    found = cache.get_or_make(("stem", *same), stem.probe)
    if found is None:
        return
    stem.start(found)
    content = cache.get_or_make(("content", *same), stem.content)

    def features_of(dataset: Dataset) -> Features | None:
        inputs = ("inputs", dataset._fingerprint, run.task.not_inputs)
        examples = cache.get_or_make(inputs, partial(_content_of, dataset, run.task.not_inputs))
        key = _key(content, examples, hardware.precision, place)
        make = partial(_Reader(stem, run, place, hardware, hooks).write, data, dataset)

        def read() -> Features | None:
            try:
                return stored(FEATURES, key, make, load_features, hooks, cache)
            except (_TooLarge, DiskFull) as error:
                hooks.warn(f"the frozen part runs again in every epoch: {error}")
                return None

        return cache.get_or_make_large(FEATURES, key, read, _size, OTHER_BYTES)

    data.use_features(features_of, per_token=stem.per_token)


def _stem(data: TextDataModule, run: Run, network: nn.Module) -> Stem | None:
    if not run.trainer.cache_features or run.task.takes_apart:
        return None
    if data.length.num_steps < data.length.steps_per_epoch:
        return None
    stem = run.strategy.stem(network)
    if stem is None or not stem.per_token:
        return stem
    # Windows start anywhere in a block. Whether the documents of a block see each other depends on
    # the padding of its batch. Compiled layers are not to be changed.
    is_stream = any(isinstance(each, Windows) for each in data.examples.values())
    return None if is_stream or data.keeps_apart or run.trainer.compile else stem


class _TooLarge(Exception):
    """The features would take more than may be kept."""


class _Reader:
    """Passes examples through the stem."""

    def __init__(
        self,
        stem: Stem,
        run: Run,
        place: torch.device,
        hardware: Hardware,
        hooks: Hooks,
    ) -> None:
        self._stem = stem
        self._task = run.task
        self._place = place
        self._mixed = hardware.autocast
        self._hooks = hooks
        self._limit = Limit(tokens=run.trainer.first_tokens)

    def write(self, data: TextDataModule, dataset: Dataset, folder: Path) -> None:
        """Write the features of all examples: (N, D), or (S, D) for those of tokens."""
        began, lengths = time.monotonic(), lengths_of(dataset)
        sizes = lengths if self._stem.per_token else [1] * len(lengths)
        starts = list(accumulate(sizes, initial=0))
        dtype, row_bytes, width = "", 0, 0
        with (folder / FILE).open("wb") as file:
            for rows, part in self._parts(data, dataset, lengths):
                if not row_bytes:
                    row_bytes, width = part[0, ..., :].nbytes, part.shape[-1]
                    row_bytes = part.element_size() * width
                    dtype = str(part.dtype).removeprefix("torch.")
                    _check_size(folder, row_bytes * starts[-1], len(lengths))
                for row, each in zip(rows, part, strict=True):
                    values = each[: sizes[row]] if self._stem.per_token else each
                    raw = values.contiguous().flatten().view(torch.uint8).numpy()
                    os.pwrite(file.fileno(), raw.data, starts[row] * row_bytes)
        seconds = time.monotonic() - began
        shape = {"dtype": dtype, "shape": [starts[-1], width], "seconds": seconds}
        (folder / SHAPE_FILE).write_text(json.dumps(shape))
        self._hooks.on_features(len(lengths), seconds, row_bytes * starts[-1])

    def _parts(
        self, data: TextDataModule, dataset: Dataset, lengths: Sequence[int]
    ) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield the features of batches, with their rows."""
        batches, num_read = evaluation_batches(lengths), 0
        for rows, batch in zip(batches, data.loader(dataset, batches), strict=True):
            self._hooks.heartbeat(f"computing features, example {num_read} of {len(lengths)}")
            if self._hooks.interrupted():
                raise Stopped(Ending.interrupted, "interrupted while it computed features")
            yield rows, self._read_batch(batch)
            num_read += len(rows)

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
            parts = [self._stem.read(**self._task.inputs(piece)).cpu() for piece in pieces]
        return torch.cat(parts)


def _check_size(folder: Path, num_bytes: int, num_rows: int) -> None:
    needs = f"its outputs for {num_rows:,} examples take {num_bytes / 1e9:.1f} GB"
    if num_bytes > max_bytes():
        raise _TooLarge(f"{needs}, more than FINESWEEP_CACHE_GB={max_bytes() / 1e9:g}")
    if not has_space(folder, num_bytes):
        raise _TooLarge(f"{needs}, more than is free where {folder.parent} is")


def load_features(folder: Path) -> Features:
    """Return an entry of the cache, its values mapped into memory.

    Raises:
        FileNotFoundError: Another process has removed it.

    """
    found: dict[str, Any] = json.loads((folder / SHAPE_FILE).read_text())
    # torch.from_file has the same mapping, but its error does not say that there is no such file.
    with (folder / FILE).open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    values = torch.frombuffer(content, dtype=getattr(torch, found["dtype"])).view(found["shape"])
    return Features(values, found.get("seconds", 0.0))  # earlier versions did not store them


def _key(content: str, examples: str, precision: Precision, place: torch.device) -> str:
    import transformers

    versions = f"{torch.__version__} {transformers.__version__}"
    # Whether a GPU multiplies fp32 in TF32.
    products = f"{torch.get_float32_matmul_precision()} {os.environ.get('NVIDIA_TF32_OVERRIDE')}"
    parts = (content, examples, precision.value, products, place.type, versions)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _content_of(dataset: Dataset, not_inputs: frozenset[str]) -> str:
    """Return a text that is equal for examples with equal inputs."""
    import numpy as np
    import pyarrow.compute

    digest = hashlib.sha256()
    for name in sorted(set(dataset.column_names) - not_inputs):
        digest.update(name.encode())
        for chunk in dataset.data.column(name).chunks:
            values = chunk
            if pyarrow.types.is_list(chunk.type):
                values = chunk.flatten()
                digest.update(np.asarray(pyarrow.compute.list_value_length(chunk)).tobytes())
            digest.update(np.asarray(values).tobytes())
    return digest.hexdigest()


def _size(features: Features | None) -> int:
    return 0 if features is None else int(features.values.nbytes)
