"""Prefix tuning: trained keys and values before those of every text, in each layer.

Each attention reads [P_k; K] and [P_v; V] instead of K and V; every layer has its own P_k and P_v:
(num_tokens, D). Step 0 differs from the pretrained model: it attends to num_tokens more tokens.
With `projection` a trained two-layer network computes the prefixes from trained embeddings, which
the paper found more stable; only its result is exported.

Paper: Li and Liang 2021, arXiv:2101.00190. Without a projection it is P-tuning v2, Liu et al. 2022,
arXiv:2110.07602. Cost: 2 * num_tokens * layers * D trainable values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import positive
from lightning_modules.strategy.adapter.virtual import VirtualTokens

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(VirtualTokens):
    """Train keys and values before every text, and the head.

    Attributes:
        projection: Compute the prefixes with a trained network, which adds trained values.
        projection_size: Width of that network, > 0.

    """

    projection: bool
    projection_size: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "projection_size")

    @property
    def peft_type(self) -> str:
        return "PREFIX_TUNING"

    @property
    def can_recompute(self) -> bool:
        return False  # transformers drops the keys and values that come from outside a layer

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        return {
            "num_virtual_tokens": self.num_tokens,
            "prefix_projection": self.projection,
            "encoder_hidden_size": self.projection_size,
        }
