"""Prompt tuning: trained embeddings of virtual tokens before every text.

The network reads [p_1 .. p_P, e(x_1) .. e(x_T)], where the p_i are trained; the rest except the
head is frozen. Step 0 differs from the pretrained model: it reads P more tokens.

Paper: Lester et al. 2021, arXiv:2104.08691 (num_tokens = p, 20 to 100; works well with a billion
parameters or more). Cost: num_tokens * D trainable values, and num_tokens more tokens per text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightning_modules.strategy.adapter.base import cut_answers
from lightning_modules.strategy.adapter.virtual import VirtualTokens, check_reads_prompt

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.model.base import Model
    from lightning_modules.model.size import Size
    from lightning_modules.task.base import Task


class PromptInit(Enum):
    """How the virtual tokens are initialized."""

    vocabulary = "vocabulary"
    """With embeddings of tokens drawn from the vocabulary."""
    random = "random"
    """From a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class PromptTuning(VirtualTokens):
    """Train embeddings before every text, and the head.

    Attributes:
        init: `vocabulary` (embeddings of random tokens) or `random` (normally distributed).

    """

    init: PromptInit

    def num_trained(self, size: Size) -> float:
        return self.num_tokens * size.width

    @property
    def peft_type(self) -> str:
        return "PROMPT_TUNING"

    def check(self, model: Model, task: Task) -> None:
        super().check(model, task)
        check_reads_prompt("prompt_tuning", model, task)

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        drawn, config = self.init is PromptInit.vocabulary, getattr(network, "config", None)
        return {
            "num_virtual_tokens": self.num_tokens,
            "prompt_tuning_init": "SAMPLE_VOCAB" if drawn else "RANDOM",
            # PEFT would keep a second prompt for a decoder, which is never read.
            "num_transformer_submodules": 1,
            # Set here because PEFT does not find them in DistilBERT's configuration.
            "token_dim": getattr(config, "hidden_size", None),
            "num_layers": getattr(config, "num_hidden_layers", None),
            "num_attention_heads": getattr(config, "num_attention_heads", None),
        }

    def adapt(self, network: nn.Module) -> nn.Module:
        adapted = super().adapt(network)
        cut_answers(adapted)
        return adapted
