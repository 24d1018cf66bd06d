"""Low-rank adapters with ranks allocated by importance (AdaLoRA).

Each linear layer y = W x becomes y = W x + (alpha / initial_rank) B E A x with W frozen,
A: (initial_rank, in), B: (out, initial_rank). E is diagonal and starts at 0, so step 0 sees the
pretrained model exactly. The penalty gamma * mean(|A A^T - 1|, |B^T B - 1|) keeps A and B close to
orthogonal, so that E acts like the singular values of an update.

At intervals the least important entries of E, across all layers, are set to 0 until an average of
`rank` per layer remain (`adapter/allocation.py`). Paper: Zhang et al. 2023, arXiv:2303.10512
(rank = b(T) / layers, initial_rank = b(0) / layers, orthogonality = gamma).
Cost: initial_rank * (in + out + 1) trainable values per layer; none after merging.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.schema import positive, within
from lightning_modules.strategy.adapter.base import PeftStrategy, chosen_targets

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.size import Size


@dataclass(frozen=True, kw_only=True)
class Adalora(PeftStrategy):
    """Train adapters on linear layers, with ranks allocated during training, and the head.

    Attributes:
        rank: Average final rank per layer, > 0.
        initial_rank: Initial rank of every layer, >= `rank`.
        alpha: The update is scaled by alpha / initial_rank, > 0.
        dropout: Probability of dropping an input of A, in [0, 1).
        targets: Which linear layers: `all-linear` (of the backbone), or names between spaces.
        warmup: Share of the steps before the first rank is removed, t_i / T in the paper, in
            [0, 1).
        final: Share of the steps after the last rank is removed, t_f / T in the paper, in [0, 1).
        every_steps: Steps between two allocations, Delta_T in the paper, > 0.
        beta1: Decay of the mean importance, in [0, 1).
        beta2: Decay of its mean deviation, in [0, 1).
        orthogonality: Weight of the penalty, gamma in the paper, >= 0.

    """

    rank: int
    initial_rank: int
    alpha: float
    dropout: float
    targets: str
    warmup: float
    final: float
    every_steps: int
    beta1: float
    beta2: float
    orthogonality: float

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from positive(self, "rank", "initial_rank", "alpha", "every_steps")
        yield from within(self, 0, 1, "dropout", "warmup", "final", "beta1", "beta2")
        if self.rank > self.initial_rank:
            rule = f"must be <= strategy.initial_rank={self.initial_rank}"
            yield Problem("rank", rule, self.rank)
        if self.warmup + self.final >= 1:
            yield Problem("warmup", f"must be < 1 - strategy.final={self.final}", self.warmup)
        if self.orthogonality < 0:
            yield Problem("orthogonality", "must be >= 0", self.orthogonality)

    @property
    def keeps_frozen(self) -> bool:
        return True

    def num_trained(self, size: Size) -> float:
        return self.initial_rank * size.ends

    @property
    def peft_type(self) -> str:
        return "ADALORA"

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        return {
            "target_modules": chosen_targets(network, self.targets),
            "target_r": self.rank,
            "init_r": self.initial_rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "total_step": 1,  # required by PEFT's own allocation, which is not used
        }

    def adapt(self, network: nn.Module) -> nn.Module:
        from lightning_modules.strategy.adapter.allocation import Allocation

        adapted = super().adapt(network)
        adapted.allocation = Allocation(adapted)
        return adapted

    def stepping(self, network: Any, step: int, num_steps: int) -> AbstractContextManager[None]:
        from lightning_modules.strategy.adapter.allocation import Budget, allocating

        budget = Budget(
            first=self.initial_rank,
            last=self.rank,
            start=round(self.warmup * num_steps),
            end=num_steps - round(self.final * num_steps),
            every=self.every_steps,
            beta1=self.beta1,
            beta2=self.beta2,
            orthogonality=self.orthogonality,
        )
        return allocating(network, step, budget)
