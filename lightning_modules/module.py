"""The LightningModule: glue between a network and its run, with no branch on task or strategy.

One Lightning batch is one optimizer step: the module cuts it into micro-batches itself, sums
their losses and divides by the whole batch's targets, so the step is the same however it is cut,
over micro-batches or over the ranks of a group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_modules.batch.join import in_row_order, joined
from lightning_modules.batch.micro import halved, micro_batches, num_examples, smallest
from lightning_modules.distributed.group import Rank, Validated
from lightning_modules.machine.memory import unless_out_of_memory
from lightning_modules.outcome import Ending, Record, Stopped
from lightning_modules.schedule.base import Length
from lightning_modules.seed import seed_device, seed_of

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch
    from lightning_modules.hooks import Hooks
    from lightning_modules.run import Run
    from lightning_modules.task.base import Examples


class FineTuner(pl.LightningModule):
    """Trains `network` as `run` says and keeps `record`, which may be that of a started run.

    A validation leaves `scores`, `validation_loss` and `observed`, in the order of the examples
    that `validation_batches` numbers.
    """

    def __init__(
        self,
        run: Run,
        network: nn.Module,
        length: Length,
        validation: Examples,
        validation_batches: Sequence[Sequence[int]],
        record: Record,
        hooks: Hooks,
    ) -> None:
        super().__init__()
        # Clipping and stepping once a batch, however many micro-batches it has.
        self.automatic_optimization = False
        self.run = run
        self.network = network
        self.length = length
        self.record = record
        self.rank = Rank()
        self.hooks = hooks
        self.scores: dict[str, float] = {}
        self.validation_loss = math.nan
        self.observed: Mapping[str, Tensor] = {}
        self._validation = validation
        self._validation_batches = validation_batches
        self._loss_sum = torch.tensor(record.loss_sum)
        self._observed_parts: list[dict[str, Tensor] | None] = []
        self._validation_loss_sum = 0.0
        self._num_validated = 0.0
        self._evaluated_at_once: int | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.run.optimizer.build(self.network)

    def on_train_start(self) -> None:
        # transformers hands networks over in evaluation mode.
        self.network.train()
        self.rank.align(self.network, self.trainer.optimizers[0])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Called after the callbacks, so whatever they decide comes before the ranks go on.
        self.rank.go()

    def on_validation_start(self) -> None:
        self.rank.go()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        step = self.record.step
        self.hooks.heartbeat(f"training, step {step + 1} of {self.length.num_steps}")
        optimizer: Any = self.optimizers()
        factor = self.run.schedule.factor(step, self.length)
        for group in optimizer.param_groups:
            group["lr"] = self.run.optimizer.lr * factor
        loss = self.rank.sum_gradients(self.network, self._backward(batch))
        if unless_out_of_memory(partial(self._update, optimizer)) is None:
            reason = f"the optimizer's step {step + 1}, with its states, does not fit into memory"
            raise Stopped(Ending.infeasible, reason)
        self._loss_sum = self._loss_sum.to(loss.device) + loss
        self.record.num_losses += 1
        self.record.step += 1
        if self.rank.decides and self.record.step % self.run.trainer.log_every_steps == 0:
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
        self._observed_parts, self._validation_loss_sum, self._num_validated = [], 0.0, 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.hooks.heartbeat(f"validating after step {self.record.step}")
        batch = self.rank.share(batch)
        if num_examples(batch) == 0:
            self._observed_parts.append(None)
            return
        while True:
            size = smallest(num_examples(batch), self._evaluated_at_once)
            evaluated = unless_out_of_memory(partial(self._evaluate, batch, size))
            if evaluated is not None:
                break
            self._evaluated_at_once = halved(size, batch)
            self.hooks.warn(
                f"memory ran out in the validation after step {self.record.step}: "
                f"{self._evaluated_at_once} examples at once in place of {size}"
            )
        loss_sum, observed = evaluated
        self._validation_loss_sum += loss_sum
        self._num_validated += float(self.run.task.num_targets(batch))
        self._observed_parts.append(observed)

    def on_validation_epoch_end(self) -> None:
        found = self.rank.gather(
            Validated(self._observed_parts, self._validation_loss_sum, self._num_validated)
        )
        if found is None:  # rank 0 has it
            return
        # The ranks' parts of a batch, in the order of the ranks, are the batch's rows in order.
        batches = zip(*(each.parts for each in found), strict=True)
        parts = [part for batch in batches for part in batch if part is not None]
        self.observed = in_row_order(parts, self._validation_batches)
        num_targets = sum(each.num_targets for each in found)
        self.validation_loss = sum(each.loss_sum for each in found) / num_targets
        # Metrics are not made for outputs that are no numbers: some would raise, some mislead.
        is_sound = math.isfinite(self.validation_loss)
        self.scores = self.run.task.score(self.observed, self._validation) if is_sound else {}

    def _evaluate(self, batch: Batch, size: int) -> tuple[float, dict[str, Tensor]]:
        loss_sum, parts = 0.0, []
        for piece in micro_batches(batch, size):
            output = self.run.task.forward(self.network, piece)
            loss_sum += self.run.task.loss_sum(output, piece).item()
            parts.append(self.run.task.observe(self.network, output, piece))
        return loss_sum, joined(parts)

    def _backward(self, batch: Batch) -> Tensor:
        """Leave the batch's gradients and return its loss, in pieces that fit into memory."""
        while True:
            configured = self.run.trainer.micro_batch_size
            size = smallest(num_examples(batch), configured, self.record.micro_batch_size)
            # Dropout is a function of (seed, step): a resumed run draws what it would have
            # drawn, and a step done again what it would have drawn so cut from the start.
            names = ("step", self.record.step, *self.rank.stream)
            seed_device(self.device, seed_of(self.run.seed, *names))
            loss = unless_out_of_memory(partial(self._accumulate, batch, size))
            if loss is not None:
                return loss
            self.zero_grad()
            self.record.micro_batch_size = halved(size, batch)
            self.hooks.warn(
                f"memory ran out at step {self.record.step + 1}: micro-batches of "
                f"{self.record.micro_batch_size} in place of {size}, the effective batch stays "
                f"{self.run.data.batch_size}"
            )

    def _accumulate(self, batch: Batch, size: int) -> Tensor:
        num_targets = self.run.task.num_targets(batch)
        losses = []
        for micro in micro_batches(self.rank.share(batch), size):
            output = self.run.task.forward(self.network, micro)
            loss = self.run.task.loss_sum(output, micro) / num_targets
            self.manual_backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum() if losses else torch.zeros((), device=self.device)

    def _update(self, optimizer: Any) -> bool:
        step, num_steps = self.record.step + 1, self.length.num_steps
        with self.run.strategy.stepping(self.network, step, num_steps):
            self.clip_gradients(optimizer, self.run.trainer.max_grad_norm, "norm")
            optimizer.step()
        optimizer.zero_grad()
        return True
