"""Training from scratch: the architecture alone is used, every weight is drawn at random.

What a pretrained model is worth is its distance to this one. Tokenizer and architecture stay;
the weights come from the run's seed, so nothing of the pretrained ones is read.
Cost: that of full fine-tuning a step, and many more steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.strategy.base import Strategy, label_names

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.base import Model
    from lightning_modules.task.base import Task


@dataclass(frozen=True, kw_only=True)
class FromScratch(Strategy):
    """Train everything, beginning with random weights."""

    def load(self, model: Model, task: Task, labels: Sequence[str]) -> nn.Module:
        network: nn.Module = model.new_network(task.auto_class, **label_names(labels))
        return network
