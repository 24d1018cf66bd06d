"""Prompt tuning: trained embeddings of virtual tokens before every text.

The network reads [p_1 .. p_P, e(x_1) .. e(x_T)], with the p_i trained and everything else but the
head frozen. Step 0 is not the pretrained model: it reads P tokens more.

Paper: Lester et al. 2021, arXiv:2104.08691 (num_tokens = p, 20 to 100 there; good from a billion
parameters on). Cost: num_tokens * D trainable values, and as many tokens more to read.
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
    from lightning_modules.task.base import Task


class PromptInit(Enum):
    """How the virtual tokens begin."""

    vocabulary = "vocabulary"
    """As embeddings of tokens drawn from the vocabulary."""
    random = "random"
    """Normally distributed."""


@dataclass(frozen=True, kw_only=True)
class PromptTuning(VirtualTokens):
    """Train embeddings before every text, and the head.

    Attributes:
        init: `vocabulary` (embeddings of drawn tokens) or `random` (normally distributed).

    """

    init: PromptInit

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
            # PEFT would keep a second prompt for a decoder, which it never reads.
            "num_transformer_submodules": 1,
            # Said here, as PEFT does not find them in DistilBERT's configuration.
            "token_dim": getattr(config, "hidden_size", None),
            "num_layers": getattr(config, "num_hidden_layers", None),
            "num_attention_heads": getattr(config, "num_attention_heads", None),
        }

    def adapt(self, network: nn.Module) -> nn.Module:
        adapted = super().adapt(network)
        cut_answers(adapted)
        return adapted
