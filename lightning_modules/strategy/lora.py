"""Low-rank adapters (LoRA).

Each linear layer y = W x of the backbone becomes y = W x + s B A x with W frozen,
A: (rank, in), B: (out, rank), s = alpha / rank. B starts at 0, so step 0 sees the pretrained
model exactly. The architecture's own head is trained in full.

Paper: Hu et al. 2021, arXiv:2106.09685 (rank = r, alpha = alpha).
`rslora`: s = alpha / sqrt(rank), which keeps large ranks stable (Kalajdzievski 2023,
arXiv:2312.03732). `dora`: y = m (W + s B A) x / |W + s B A|, where m, the norm of each output's
weights, is trained too (Liu et al. 2024, arXiv:2402.09353). `init=pissa`: A and B start as the
largest singular directions of W, and the frozen W keeps the rest (Meng et al. 2024,
arXiv:2404.02948); `olora`: as those of its QR decomposition (Büyükakyüz 2024, arXiv:2406.01775).
Cost: rank * (in + out) trainable values per layer, plus out with `dora`; none after merging.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import positive, within
from lightning_modules.strategy.adapter.base import PeftStrategy, chosen_targets

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.size import Size


class Init(Enum):
    """How A and B are initialized."""

    default = "default"
    """A uniformly at random, B to 0."""
    gaussian = "gaussian"
    """A from a normal distribution, B to 0."""
    olora = "olora"
    pissa = "pissa"


@dataclass(frozen=True, kw_only=True)
class Lora(PeftStrategy):
    """Train low-rank adapters on linear layers, and the head.

    Attributes:
        rank: Width of the adapters, r in the paper, > 0.
        alpha: alpha in the paper, > 0; the update is scaled by alpha / rank.
        dropout: Probability of dropping an input of A, in [0, 1).
        rslora: Scale by alpha / sqrt(rank) instead.
        dora: Also train the norm of each output's weights.
        init: `default`, `gaussian`, `olora` or `pissa`.
        targets: Which linear layers: `all-linear` (of the backbone), or names between spaces.

    """

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    dora: bool
    init: Init
    targets: str

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "rank", "alpha")
        yield from within(self, 0, 1, "dropout")
        if not self.targets.strip():
            yield Problem("targets", "must be all-linear or names of linear layers", self.targets)

    @property
    def keeps_frozen(self) -> bool:
        # The others take the first directions out of the frozen weights.
        return self.init in (Init.default, Init.gaussian)

    @property
    def shared_layers(self) -> str | None:
        is_plain = type(self) is Lora and self.keeps_frozen and not self.dora
        return self.targets if is_plain else None

    def num_trained(self, size: Size) -> float:
        return self.rank * size.ends  # of all linear layers, although `targets` may name fewer

    @property
    def keeps_base(self) -> bool:
        return self.keeps_frozen

    @property
    def peft_type(self) -> str:
        return "LORA"

    @property
    def merges_in_place(self) -> bool:
        return True

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        return {
            "target_modules": chosen_targets(network, self.targets),
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "use_dora": self.dora,
            "init_lora_weights": True if self.init is Init.default else self.init.value,
        }
