"""One fully specified training, as a value."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from lightning_modules.data.base import Data
from lightning_modules.logger.base import Logger
from lightning_modules.machine.hardware import Precision
from lightning_modules.model.base import Model
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.schedule.base import Schedule
from lightning_modules.schema import member_of
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.base import Task
from lightning_modules.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fully specified training."""

    seed: int
    model: Model
    data: Data
    task: Task
    strategy: Strategy
    optimizer: Optimizer
    schedule: Schedule
    trainer: Trainer
    logger: Logger

    def flat(self) -> dict[str, Any]:
        """Return every value by its config key, e.g. `{"optimizer.lr": 0.001, ...}`."""
        return dict(_flatten("", self))


def pack_key(run: Run) -> Hashable | None:
    """Return what runs have in common that may share passes; None if the run shares with none.

    They may differ in learning rate, batch size, length, schedule, optimizer, seed, validation
    split, and in the rank, scale and dropout of adapters. See `lightning_modules.fit.pack`.
    """
    task, trainer, layers = run.task, run.trainer, run.strategy.shared_layers
    if layers is None or not task.shares_passes or task.needs_reference or task.compares_in_batch:
        return None
    # The loss is scaled by what overflowed before, which is a run's own.
    if trainer.devices > 1 or trainer.precision is Precision.fp16:
        return None
    # Both change the layers of a network, here those of one run.
    if trainer.compile is not False or trainer.gradient_checkpointing is True:
        return None
    settings = (trainer.precision, trainer.device, layers, run.data.max_length)
    seed = run.seed if run.model.draws_weights else None
    return (run.model, seed, task.cache_key, run.data.pool_key, *settings)


def _flatten(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not is_dataclass(value):
        return [(prefix, value.value if isinstance(value, Enum) else value)]
    # A group's own key holds its member's name, e.g. `strategy: lora`.
    member = [(prefix, member_of(value))] if prefix else []
    dot = f"{prefix}." if prefix else ""
    return member + [
        pair
        for field in fields(value)
        for pair in _flatten(dot + field.name, getattr(value, field.name))
    ]
