"""A run's rows as batches of tensors: tokenized once, in an order drawn from the run's seed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from lightning_modules.batch.block import Blocks, Windows, are_blocks, collate_batch
from lightning_modules.batch.collate import Collate
from lightning_modules.batch.featured import Featured, Features, TokenFeatured
from lightning_modules.batch.order import (
    TrainingBatches,
    TrainingWindows,
    evaluation_batches,
    feature_batches,
    sorted_batches,
)
from lightning_modules.batch.span import MOST_BATCHES, Spans, span_sizes
from lightning_modules.batch.tokenize import content_of, digest_of, lengths_of, tokenize
from lightning_modules.batch.type import LABELS_ON_HOST
from lightning_modules.machine.lightning import pl
from lightning_modules.rows.columns import listed
from lightning_modules.schedule.base import Length
from lightning_modules.task.base import Examples

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.batch.type import Batch
    from lightning_modules.cache import Cache
    from lightning_modules.hooks import Hooks
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run


class TextDataModule(pl.LightningDataModule):
    """Training batches, starting at optimizer step `start`, and validation batches.

    `keeps_apart` says whether training rows share a block in which they must not see each other.
    """

    def __init__(
        self,
        run: Run,
        splits: Mapping[str, Sequence[Row]],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        start: int = 0,
        hooks: Hooks | None = None,
        cache: Cache | None = None,
    ) -> None:
        super().__init__()
        self._run = run
        self._splits = splits
        self._labels = labels
        self._tokenizer = tokenizer
        self._hooks = hooks
        self._cache = cache
        # A strategy that does not train needs no tokens of the training rows.
        self._train: Any = self._training_rows() if run.strategy.trains else None
        self._validation = run.task.validation_examples(self._tokenized("validation"))
        self.keeps_apart = "position_ids" in getattr(self._train, "column_names", ())
        lengths = [] if self._train is None else lengths_of(self._train)
        self.num_train = len(lengths)
        steps_per_epoch = -(-self.num_train // run.data.batch_size)
        num_steps = run.trainer.epochs * steps_per_epoch
        if run.trainer.max_steps is not None:
            num_steps = min(num_steps, run.trainer.max_steps)
        self.length = Length(num_steps, steps_per_epoch)
        self.frozen_seconds = 0.0  # of the validation rows' features, without which a pass takes it
        self._start = start
        self._batches: Any = TrainingBatches(
            lengths,
            run.data.batch_size,
            seed=run.seed,
            num_steps=num_steps,
            start=start,
        )
        if run.strategy.trains and run.task.is_stream and are_blocks(self._train):
            self._train = Windows(self._train)
            length, num_blocks = self._train.length, len(self._train)
            self._batches = TrainingWindows(
                self._batches, length, num_blocks, seed=run.seed, start=start
            )
        lengths = lengths_of(self._validation)
        self.validation_batches: Sequence[Sequence[int]] = evaluation_batches(
            lengths, run.task.num_written(len(lengths))
        )
        if run.task.compares_in_batch:  # its losses are only alike in batches of one size
            self.validation_batches = sorted_batches(lengths, run.data.batch_size)
        scored = listed(splits["validation"])
        self.validation = Examples(scored, labels, tokenizer, run.data.max_length)

    def use_features(
        self, features_of: Callable[[Dataset], Features | None], *, per_token: bool
    ) -> None:
        """Give batches the column `features`, in the same order as before.

        Args:
            features_of: Returns the features of examples; or None, then they stay as they are.
            per_token: Whether it returns those of tokens, (S, D). Otherwise, (N, D), they replace
                what the network reads.

        """
        self._train = self._featured(self._train, features_of(self._train), per_token)
        features = features_of(self._validation)
        self._validation = self._featured(self._validation, features, per_token)
        self.frozen_seconds = 0.0 if features is None else features.seconds
        # Ranks share batches, and one may have had no space for features.
        is_alone = self._run.trainer.devices == 1 and not self._run.task.compares_in_batch
        if is_alone and isinstance(self._validation, Featured):
            self.validation_batches = feature_batches(len(self._validation))

    def _featured(self, dataset: Dataset, features: Features | None, per_token: bool) -> Any:
        if features is None:
            return dataset
        if per_token:
            lengths, collate = lengths_of(dataset), Collate(self._tokenizer)
            return TokenFeatured(features.values, lengths, dataset, collate)
        names = [name for name in dataset.column_names if name in self._run.task.not_inputs]
        return Featured(features.values, {name: dataset[name][:] for name in names})

    @property
    def examples(self) -> dict[str, Any]:
        """The encoded rows of each split; without those that are not trained on."""
        parts = {"train": self._train, "validation": self._validation}
        return {split: part for split, part in parts.items() if part is not None}

    def add_column(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Add a column to the examples, with one value per example of each split."""
        for split, each in values.items():
            attribute = f"_{split}"
            extended = getattr(self, attribute).add_column(name, each.tolist())
            setattr(self, attribute, extended)

    def longest_example(self) -> Batch:
        """Return a batch of one training example, padded like the widest batch there can be."""
        if isinstance(self._train, Windows | Featured):  # all of one length
            return self._batch([0])
        examples = getattr(self._train, "examples", self._train)
        columns = examples.features
        names = [name for name in ("input_ids", "labels") if hasattr(columns.get(name), "feature")]
        lengths = (lengths_of(examples, name) for name in names)
        batch = self._batch([max(range(len(each)), key=each.__getitem__) for each in lengths])
        return {name: tensor[:1] for name, tensor in batch.items()}

    def _batch(self, rows: list[int]) -> Batch:
        batch: Batch = next(iter(self.loader(self._train, [rows])))
        return batch

    def train_dataloader(self) -> Spans:
        settings, num_steps = self._run.trainer, self.length.num_steps
        loader = self.loader(self._train, self._batches, settings.num_data_workers)
        every = settings.log_every_steps
        logged = range(every, num_steps, every)
        validated = self.length.validation_steps(settings.validations_per_epoch)
        # Ranks proceed together before each span, and one may have had no space for features.
        most = min(every, _most_at_once(self._train)) if settings.devices == 1 else 1
        return Spans(loader, span_sizes(self._start, num_steps, most, {*logged, *validated}))

    def val_dataloader(self) -> Spans:
        loader = self.loader(self._validation, self.validation_batches)
        most = _most_at_once(self._validation)
        return Spans(loader, span_sizes(0, len(self.validation_batches), most))

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Return a batch, or each of a span, on the device, and its labels on the host too."""
        if isinstance(batch, list):
            return [self.transfer_batch_to_device(each, device, dataloader_idx) for each in batch]
        moved: dict[str, Tensor] = batch
        if device.type != "cpu":
            moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return {**moved, LABELS_ON_HOST: batch["labels"]} if "labels" in batch else moved

    def loader(self, examples: Any, batches: Any, num_workers: int = 0) -> DataLoader[Any]:
        """Return the loader of these batches, which are lists of example numbers."""
        collate: Any = Collate(self._tokenizer)
        if isinstance(examples, Featured | TokenFeatured):
            collate = collate_batch
        elif isinstance(examples, Blocks) or are_blocks(examples):
            collate = collate_batch
            examples = examples if isinstance(examples, Blocks) else Blocks(examples)
        return DataLoader(
            examples,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            worker_init_fn=_ignore_signals,
            # Only from pinned memory does a GPU copy while the host continues.
            pin_memory=self._is_for_cuda,
        )

    @property
    def _is_for_cuda(self) -> bool:
        trainer = self.trainer  # None until Lightning attaches this module to one
        return trainer is not None and trainer.strategy.root_device.type == "cuda"

    def _training_rows(self) -> Any:
        train = self._tokenized("train")
        unused = [name for name in train.column_names if name in self._run.task.scoring_columns]
        # Without any it would still copy and fingerprint all columns.
        return train.remove_columns(unused) if unused else train

    def _tokenized(self, split: str) -> Any:
        run, tokenizer, labels = self._run, self._tokenizer, list(self._labels)
        rows = run.strategy.prepare(self._splits[split], tokenizer)
        task, max_length = run.task, run.data.max_length
        encode = task.encode_training if split == "train" else task.encode
        settings = [task.cache_key, self._tokenizer_content(), str(max_length), json.dumps(labels)]
        if split == "train" and task.packs_training:
            settings.append("packed")
        return tokenize(
            rows,
            lambda chunk: encode(chunk, tokenizer, max_length, labels),
            settings,
            self._hooks,
            self._cache,
            self._digest(split, rows),
        )

    def _tokenizer_content(self) -> str:
        """Return what distinguishes the tokenizer; read once, as its vocabulary takes 30 ms."""
        tokenizer = self._tokenizer
        if self._cache is None:
            return content_of(tokenizer)
        key = ("content of a tokenizer", id(tokenizer), len(tokenizer))
        return self._cache.get_or_make(key, lambda: (content_of(tokenizer), tokenizer))[0]

    def _digest(self, split: str, rows: Sequence[Row]) -> str:
        """Return the digest of the rows; of a million, once and not for every run."""
        if self._cache is None or rows is not self._splits[split]:
            return digest_of(rows)
        # The rows are kept beside it, or other rows could get their id.
        key = ("digest", id(rows))
        return self._cache.get_or_make(key, lambda: (digest_of(rows), rows))[0]


def _most_at_once(examples: Any) -> int:
    """Return how many batches may share a span: several if they only pass a head."""
    return MOST_BATCHES if isinstance(examples, Featured) else 1


def _ignore_signals(number: int) -> None:
    """Leave it to the run what a signal means that a scheduler sends to each of its processes.

    It still needs batches, to the next step, after which it saves a checkpoint. A data worker ends
    when its loader does, or its process, which then sends SIGTERM itself and waits.
    """
    for each in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(each, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, which has no such schedulers
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        # A thread of a library that does not block it must not end the worker.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
