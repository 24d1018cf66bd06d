"""Training only the biases (BitFit).

Each layer y = W x + b, and each norm, keeps its W; only the vectors b and the head are trained.

Paper: Ben Zaken et al. 2022, arXiv:2106.10199.
Cost: one trained value per output of each layer with a bias, about 0.1 % of a BERT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.part import backbone_of, new_parts
from lightning_modules.strategy.base import Strategy

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Bitfit(Strategy):
    """Train the biases and the head."""

    telling_share: ClassVar[float] = 0.7  # not measured, so as careful as with adapters

    @property
    def keeps_frozen(self) -> bool:
        return True

    def check_architecture(self, skeleton: nn.Module) -> None:
        self.adapt(skeleton)

    def adapt(self, network: nn.Module) -> nn.Module:
        network.requires_grad_(False)
        biases = [p for name, p in backbone_of(network).named_parameters() if _is_bias(name)]
        if not biases:
            got = Verbatim(f"{type(network).__name__}, which has none")
            fix = "Set strategy=lora or strategy=ia3."
            raise ConfigError(Problem("model", "must have biases", got, fix))
        for bias in biases:
            bias.requires_grad_(True)
        for name in new_parts(network):
            network.get_submodule(name).requires_grad_(True)
        return network


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"
