"""Freezing: the lower layers are frozen; the top layers and the head are trained.

What lower layers have learned about a language helps most tasks; the top ones specialize in the
pretraining task. The embeddings stay frozen. Modules after the top layer, e.g. a final norm or a
pooler, are trained with it.

Paper: Lee et al. 2019, arXiv:1911.03090 (training a quarter of the layers keeps most of the
quality).
Cost: the values of `num_layers` layers and of the head; no backward pass below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.dropout import disable_dropout
from lightning_modules.model.part import (
    backbone_of,
    modules_after_layers,
    modules_before_layers,
    new_parts,
    stacks_of,
)
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.size import Size
    from lightning_modules.model.stem import Stem


@dataclass(frozen=True, kw_only=True)
class Freeze(Strategy):
    """Train the top layers and the head.

    Attributes:
        num_layers: Layers to train, counted from the top, >= 0; 0 trains only the head. In an
            encoder-decoder, this many in each of the two parts.

    """

    num_layers: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.num_layers < 0:
            yield Problem("num_layers", "must be >= 0", self.num_layers)

    @property
    def keeps_frozen(self) -> bool:
        return True

    def num_trained(self, size: Size) -> float:
        return self.num_layers / size.layers * (size.parameters - size.embeddings)

    def check_architecture(self, skeleton: nn.Module) -> None:
        self.adapt(skeleton)

    def adapt(self, network: nn.Module) -> nn.Module:
        backbone = backbone_of(network)
        stacks = stacks_of(backbone)
        self._check_stacks(network, [len(stack) for stack in stacks])
        network.requires_grad_(False)
        for stack in stacks:
            lowest = len(stack) - self.num_layers
            stack[lowest:].requires_grad_(True)
            disable_dropout(stack[:lowest])
        for module in modules_before_layers(backbone):
            disable_dropout(module)
        for module in modules_after_layers(backbone) if self.num_layers else ():
            module.requires_grad_(True)
        for name in new_parts(network):
            network.get_submodule(name).requires_grad_(True)
        return network

    def stem(self, network: Any) -> Stem | None:
        from lightning_modules.model.stem import layers_stem

        return layers_stem(network, self.num_layers)

    def _check_stacks(self, network: nn.Module, sizes: list[int]) -> None:
        most = min(sizes, default=0)
        if self.num_layers > most:
            rule = f"must be <= {most}, the number of layers of {type(network).__name__}"
            raise ConfigError(Problem("strategy.num_layers", rule, self.num_layers))
        if not self.num_layers and not new_parts(network):
            rule = f"must be >= 1, because {type(network).__name__} has no new head to train"
            raise ConfigError(Problem("strategy.num_layers", rule, Verbatim("0")))
