"""What is told of every optimizer step: its number, and now and then the training loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

if TYPE_CHECKING:
    from lightning_modules.logger.base import RunLog


class Steps(pl.Callback):
    """Tells `stepped` of each step, and `log` of the loss every `trainer.log_every_steps`."""

    def __init__(self, log: RunLog, stepped: Callable[[int, int], None]) -> None:
        self._log = log
        self._stepped = stepped

    def on_train_batch_end(
        self, trainer: pl.Trainer, tuner: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = tuner.record.step
        self._stepped(step, tuner.length.num_steps)
        if step % tuner.run.trainer.log_every_steps == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._log.log({"train/loss": tuner.check_loss(), "train/lr": rate}, step=step)
