"""One fully specified training, as a value."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from lightning_modules.data.base import Data
from lightning_modules.logger.base import Logger
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
