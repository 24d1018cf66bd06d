"""Which runs may share passes: those of LoRA on the same network and the same rows.

They may differ in learning rate, batch size, length, schedule, optimizer, seed, and in the rank,
scale and dropout of the adapters.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from lightning_modules.machine.hardware import Precision
from lightning_modules.strategy.lora import Lora

if TYPE_CHECKING:
    from lightning_modules.run import Run


def pack_key(run: Run) -> Hashable | None:
    """Return what runs have in common that may share passes; None if the run shares with none."""
    strategy, task, trainer = run.strategy, run.task, run.trainer
    if type(strategy) is not Lora or not strategy.keeps_frozen or strategy.dora:
        return None
    if not task.shares_passes or task.needs_reference or task.compares_in_batch:
        return None
    # The loss is scaled by what overflowed before, which is a run's own.
    if trainer.devices > 1 or trainer.precision is Precision.fp16:
        return None
    # Both change the layers of a network, here those of one run.
    if trainer.compile is not False or trainer.gradient_checkpointing is True:
        return None
    settings = (trainer.precision, trainer.device, strategy.targets, run.data.max_length)
    return (run.model, task.cache_key, run.data.rows_key, *settings)
