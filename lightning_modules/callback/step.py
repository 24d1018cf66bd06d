"""Report every optimizer step, and log the training loss at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

if TYPE_CHECKING:
    from lightning_modules.logger.base import RunLog


class Steps(pl.Callback):
    """Calls `on_step` after each step, and logs the loss every `trainer.log_every_steps` steps."""

    def __init__(self, log: RunLog, on_step: Callable[[int, int], None]) -> None:
        self._log = log
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, tuner: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = tuner.record.step
        self._on_step(step, tuner.length.num_steps)
        if step % tuner.run.trainer.log_every_steps == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            self._log.log({"train/loss": tuner.check_loss(), "train/lr": rate}, step=step)
