"""Full fine-tuning: every weight of the model and its head is trained.

Cost: the gradients and two AdamW moments of every weight, 12 bytes each on top of its 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.strategy.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train everything."""
