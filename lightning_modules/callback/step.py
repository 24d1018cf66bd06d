"""Log the training loss and the speed at intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lightning_modules.callback.speed import Speed
from lightning_modules.machine.lightning import pl

if TYPE_CHECKING:
    from lightning_modules.logger.base import RunLog


class Steps(pl.Callback):
    """Logs values every `trainer.log_every_steps` steps."""

    def __init__(self, log: RunLog, speed: Speed) -> None:
        self._log = log
        self._speed = speed

    def on_train_batch_end(
        self, trainer: pl.Trainer, tuner: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = tuner.record.step
        if step % tuner.run.trainer.log_every_steps == 0:
            values = {
                "train/loss": tuner.check_loss(),
                "train/lr": trainer.optimizers[0].param_groups[0]["lr"],
            }
            norm = float(tuner.gradient_norm)
            if math.isfinite(norm):  # else fp16 skipped the step
                values["train/gradient_norm"] = norm
            tokens_per_second = self._speed.since_last(tuner)
            if tokens_per_second is not None:
                values["train/tokens_per_second"] = tokens_per_second
            self._log.log(values, step=step)
