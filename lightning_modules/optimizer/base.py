"""The base class of optimizers: it builds a torch optimizer for the trainable parameters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@dataclass(frozen=True, kw_only=True)
class Optimizer(Schema):
    """An optimizer.

    Attributes:
        lr: Peak learning rate, > 0; the schedule scales it.

    """

    lr: float

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "lr")

    def check(self) -> None:
        """Raise ConfigError if a package is missing that it needs."""

    def state_bytes(self, value_bytes: float) -> float:
        """Return the bytes that it keeps per trained value of `value_bytes`, e.g. two moments."""
        return 2 * value_bytes

    @abstractmethod
    def build(self, network: nn.Module) -> TorchOptimizer:
        """Return the optimizer for the network's trainable parameters, in their order."""
