"""The LightningModule: glue between a network and its run, with no branch on task or strategy.

One Lightning batch is one optimizer step: the module cuts it into micro-batches itself, sums
their losses and divides by the whole batch's targets, so the step is the same however it is cut,
over micro-batches or over `ranks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules.datamodule import in_row_order
from lightning_modules.ranks import Ranks, Validated
from lightning_modules.record import Ending, Record, Stopped
from lightning_modules.schedule.base import Length
from lightning_modules.seed import seed_of

if TYPE_CHECKING:
    from lightning_modules.run import Run
    from lightning_modules.task.base import Batch


class FineTuner(pl.LightningModule):
    """Trains `network` as `run` says and keeps `record`, which may be that of a started run.

    A validation leaves `scores`, `validation_loss` and `observed`, in the order of the rows that
    `validation_batches` numbers.
    """

    def __init__(
        self,
        run: Run,
        network: nn.Module,
        length: Length,
        validation_batches: Sequence[Sequence[int]],
        record: Record,
    ) -> None:
        super().__init__()
        # Clipping and stepping once a batch, however many micro-batches it has.
        self.automatic_optimization = False
        self.run = run
        self.network = network
        self.length = length
        self.record = record
        self.ranks = Ranks()
        self.scores: dict[str, float] = {}
        self.validation_loss = math.nan
        self.observed: Mapping[str, Tensor] = {}
        self._validation_batches = validation_batches
        self._loss_sum = torch.tensor(record.loss_sum)
        self._observed_parts: list[dict[str, Tensor] | None] = []
        self._validation_loss_sum = 0.0
        self._num_validated = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.run.optimizer.build(self.network)

    def on_train_start(self) -> None:
        # transformers hands networks over in evaluation mode.
        self.network.train()
        self.ranks.align(self.network, self.trainer.optimizers[0])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Called after the callbacks, so whatever they decide comes before the ranks go on.
        self.ranks.go()

    def on_validation_start(self) -> None:
        self.ranks.go()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        step = self.record.step
        optimizer: Any = self.optimizers()
        factor = self.run.schedule.factor(step, self.length)
        for group in optimizer.param_groups:
            group["lr"] = self.run.optimizer.lr * factor
        # Dropout is a function of (seed, step): a resumed run draws what it would have drawn.
        torch.manual_seed(seed_of(self.run.seed, "step", step, *self.ranks.stream))
        loss = self.ranks.sum_gradients(self.network, self._backward(batch))
        self.clip_gradients(optimizer, self.run.trainer.max_grad_norm, "norm")
        optimizer.step()
        optimizer.zero_grad()
        self._loss_sum = self._loss_sum.to(loss.device) + loss
        self.record.num_losses += 1
        self.record.step += 1
        if self.ranks.decides and self.record.step % self.run.trainer.log_every_steps == 0:
            self.check_loss()

    def check_loss(self) -> float:
        """Return the mean training loss since `forget_loss`; one that is no number ends the run."""
        self.record.loss_sum = self._loss_sum.item()
        mean = self.record.loss_sum / max(1, self.record.num_losses)
        if not math.isfinite(mean):
            reason = f"the training loss became {mean} by step {self.record.step}"
            raise Stopped(Ending.diverged, reason)
        return mean

    def forget_loss(self) -> None:
        """Begin a new mean."""
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self.record.loss_sum, self.record.num_losses = 0.0, 0

    def on_validation_epoch_start(self) -> None:
        self._observed_parts, self._validation_loss_sum, self._num_validated = [], 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        batch = self.ranks.share(batch)
        if num_examples(batch) == 0:
            self._observed_parts.append(None)
            return
        output = self.network(**inputs_of(batch))
        self._validation_loss_sum += self.run.task.loss_sum(output, batch).item()
        self._num_validated += self.run.task.num_targets(batch)
        self._observed_parts.append(self.run.task.observe(output, batch))

    def on_validation_epoch_end(self) -> None:
        found = self.ranks.gather(
            Validated(self._observed_parts, self._validation_loss_sum, self._num_validated)
        )
        if found is None:  # rank 0 has it
            return
        # The ranks' parts of a batch, in the order of the ranks, are the batch's rows in order.
        batches = zip(*(each.parts for each in found), strict=True)
        parts = [part for batch in batches for part in batch if part is not None]
        self.observed = in_row_order(parts, self._validation_batches)
        self.scores = self.run.task.score(self.observed)
        num_targets = sum(each.num_targets for each in found)
        self.validation_loss = sum(each.loss_sum for each in found) / num_targets

    def _backward(self, batch: Batch) -> Tensor:
        num_targets = self.run.task.num_targets(batch)
        losses = []
        for micro in micro_batches(self.ranks.share(batch), self.run.trainer.micro_batch_size):
            output = self.network(**inputs_of(micro))
            loss = self.run.task.loss_sum(output, micro) / num_targets
            self.manual_backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum() if losses else torch.zeros((), device=self.device)


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """Return the batch without its labels: the loss is the task's, not the network's."""
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def num_examples(batch: Batch) -> int:
    """Return how many examples the batch has."""
    return len(next(iter(batch.values())))


def micro_batches(batch: Batch, size: int | None) -> Iterator[Batch]:
    """Cut the batch into pieces of at most `size` examples; None leaves it whole."""
    num = num_examples(batch)
    for start in range(0, num, size or max(1, num)):
        yield {name: tensor[start : start + (size or num)] for name, tensor in batch.items()}
