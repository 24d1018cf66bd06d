"""The rows of a run as batches of tensors: tokenized once, ordered by the run's seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.data.order import TrainingBatches, sorted_batches
from lightning_modules.data.tokenized import lengths_of, tokenize
from lightning_modules.schedule.base import Length

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.data.base import Row
    from lightning_modules.run import Run

NUM_EVALUATED_AT_ONCE = 64


class TextDataModule(pl.LightningDataModule):
    """Training batches from optimizer step `start` on, and validation batches."""

    def __init__(
        self,
        run: Run,
        splits: Mapping[str, Sequence[Row]],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        start: int = 0,
        alive: Callable[[str], None] = lambda doing: None,
    ) -> None:
        super().__init__()
        self._run = run
        self._splits = splits
        self._labels = labels
        self._tokenizer = tokenizer
        self._alive = alive
        self._train = self._tokenized("train")
        self._validation = self._tokenized("validation")
        self._batches = TrainingBatches(
            lengths_of(self._train),
            run.data.batch_size,
            seed=run.seed,
            num_epochs=run.trainer.epochs,
            start=start,
        )
        steps_per_epoch = self._batches.steps_per_epoch
        self.length = Length(run.trainer.epochs * steps_per_epoch, steps_per_epoch)
        self.num_train = len(self._splits["train"])
        self.validation_batches = evaluation_batches(lengths_of(self._validation))

    def train_dataloader(self) -> DataLoader[Any]:
        num_workers = self._run.trainer.num_data_workers
        return DataLoader(
            self._train,
            batch_sampler=self._batches,
            collate_fn=Collate(self._tokenizer),
            num_workers=num_workers,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self._validation,
            batch_sampler=self.validation_batches,
            collate_fn=Collate(self._tokenizer),
        )

    def _tokenized(self, split: str) -> Any:
        rows = self._run.strategy.prepare(self._splits[split])
        run = self._run
        max_length, alive = run.data.max_length, self._alive
        return tokenize(rows, run.task, self._tokenizer, max_length, self._labels, alive)


def evaluation_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Return the numbers of all rows, in batches of like length."""
    return sorted_batches(lengths, NUM_EVALUATED_AT_ONCE)


def in_row_order(
    observed: Sequence[Mapping[str, Tensor]], batches: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Join what was observed of each of `batches` (row numbers), in the order of the rows."""
    order = torch.tensor([row for batch in batches for row in batch]).argsort()
    return {name: torch.cat([part[name] for part in observed])[order] for name in observed[0]}


class Collate:
    """Pads rows to the longest of their batch; a class, so that data workers can pickle it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        padded = self._tokenizer.pad(list(rows), return_tensors="pt")
        return dict(padded)
