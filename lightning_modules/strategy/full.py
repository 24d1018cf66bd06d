"""Full fine-tuning: every weight of the model and its head is trained.

Cost: a gradient and two AdamW moments per weight, 12 bytes in addition to its own 4; all in bf16
with `model.dtype=bf16`, 8 bytes in total. Then updates below 1/256 of a weight are often lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from lightning_modules.model.size import Size


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train everything."""

    @property
    def supports_bf16(self) -> bool:
        return True

    def num_trained(self, size: Size) -> float:
        return size.parameters
