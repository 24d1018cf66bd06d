"""AdamW: Adam with weight decay decoupled from the gradient.

Paper: Loshchilov and Hutter 2019, arXiv:1711.05101 (weight_decay = lambda). As usual for
transformers, vectors (biases, norms) are not decayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.optimizer.base import Optimizer
from lightning_modules.schema import positive, within

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@dataclass(frozen=True, kw_only=True)
class DecoupledDecay(Optimizer):
    """What the forms of AdamW share.

    Attributes:
        weight_decay: lambda in the paper, in [0, 1).
        beta1: Decay of the first moment, in [0, 1).
        beta2: Decay of the second moment, in [0, 1).
        eps: Added to the square root of the second moment, > 0.

    """

    weight_decay: float
    beta1: float
    beta2: float
    eps: float

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "eps")
        yield from within(self, 0, 1, "weight_decay", "beta1", "beta2")

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return the trained parameters, those that are decayed and those that are not."""
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        vectors = [parameter for parameter in trained if parameter.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]


@dataclass(frozen=True, kw_only=True)
class Adamw(DecoupledDecay):
    """AdamW.

    Attributes:
        fused: Whether one kernel does an update on a CPU, as on a GPU. It takes a quarter of the
            time of torch's loop over the parts of the formula, and rounds differently.

    """

    fused: bool

    def build(self, network: nn.Module) -> TorchOptimizer:
        import torch

        groups = self.groups(network)
        return torch.optim.AdamW(
            groups,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=self._fused(each.device for group in groups for each in group["params"]),
        )

    def _fused(self, devices: Iterable[torch.device]) -> bool | None:
        """Return whether one kernel does an update on these devices; None if torch decides."""
        has_kernel = ({"cuda"}, {"cpu"}) if self.fused else ({"cuda"},)
        return True if {device.type for device in devices} in has_kernel else None
