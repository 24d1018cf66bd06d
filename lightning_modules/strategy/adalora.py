"""Low-rank adapters whose ranks go where they are needed (AdaLoRA).

Each linear layer y = W x becomes y = W x + (alpha / initial_rank) B E A x with W frozen,
A: (initial_rank, in), B: (out, initial_rank), E diagonal and 0 at first, so that step 0 sees the
pretrained model exactly. A penalty keeps A and B near orthogonal, so that E is like the singular
values of an update: gamma * mean over both of |A A^T - 1| and |B^T B - 1|.

At times the least important of all layers' entries of E are set to 0, until `rank` of them a
layer are left on average (`allocation`). Paper: Zhang et al. 2023, arXiv:2303.10512
(rank = b(T) / layers, initial_rank = b(0) / layers, orthogonality = gamma).
Cost: initial_rank * (in + out + 1) trainable values a layer; none after merging.
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


@dataclass(frozen=True, kw_only=True)
class Adalora(PeftStrategy):
    """Train adapters on linear layers, of ranks that training allots, and the head.

    Attributes:
        rank: Rank of a layer at the end, on average, > 0.
        initial_rank: Rank of each layer at first, >= `rank`.
        alpha: The update is scaled by alpha / initial_rank, > 0.
        dropout: Probability of dropping an input of A, in [0, 1).
        targets: Which linear layers: `all-linear` (of the backbone), or names between spaces.
        warmup: Share of the steps before ranks are taken away, t_i / T of the paper, in [0, 1).
        final: Share of the steps after the last was taken away, t_f / T of the paper, in [0, 1).
        every_steps: Steps from one allotment to the next, Delta_T of the paper, > 0.
        beta1: Decay of the mean importance, in [0, 1).
        beta2: Decay of its mean deviation, in [0, 1).
        orthogonality: gamma of the paper, >= 0.

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
    def peft_type(self) -> str:
        return "ADALORA"

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        return {
            "target_modules": chosen_targets(network, self.targets),
            "target_r": self.rank,
            "init_r": self.initial_rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "total_step": 1,  # PEFT's own allotment, which is not used, asks for it
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
            begin=round(self.warmup * num_steps),
            end=num_steps - round(self.final * num_steps),
            every=self.every_steps,
            beta1=self.beta1,
            beta2=self.beta2,
            orthogonality=self.orthogonality,
        )
        return allocating(network, step, budget)
