"""Full fine-tuning: every weight of the model and its head is trained.

Cost: a gradient and two AdamW moments per weight, 12 bytes in addition to its own 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.strategy.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train everything."""
