"""Learned scales of keys, values and inner activations (IA3).

In each layer the vectors l_k, l_v and l_ff are trained:
    attention = softmax(Q (l_k * K)^T / sqrt(d)) (l_v * V),  feed-forward = W2 (l_ff * f(W1 x)).
They start at 1, so step 0 sees the pretrained model exactly. If one matrix computes queries, keys
and values, e.g. in GPT-2 and ModernBERT, the queries are scaled too.

Paper: Liu et al. 2022, arXiv:2205.05638.
Cost: 2 D + inner width trainable values per layer; none after merging.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.part import backbone_of, linear_layers
from lightning_modules.strategy.adapter.base import PeftStrategy

if TYPE_CHECKING:
    from torch import nn

# The names that architectures give the matrices of keys and values, the fused matrix of queries,
# keys and values, and the second feed-forward matrix, whose inputs are the inner activations.
_KEYS_VALUES = frozenset(
    (
        *("key", "key_proj", "k_proj", "k_lin", "k"),
        *("value", "value_proj", "v_proj", "v_lin", "v"),
    )
)
_FUSED = frozenset(("c_attn", "query_key_value", "Wqkv", "qkv_proj"))
_SECOND = (
    *(".output.dense", ".lin2", ".fc2", ".wo", ".down_proj", ".mlp.c_proj", ".mlp.Wo"),
    *(".dense_4h_to_h", ".fc_out"),
)


@dataclass(frozen=True, kw_only=True)
class Ia3(PeftStrategy):
    """Train the scales and the head."""

    @property
    def keeps_frozen(self) -> bool:
        return True

    @property
    def peft_type(self) -> str:
        return "IA3"

    def settings(self, network: nn.Module) -> Mapping[str, Any]:
        inside = {id(module) for module in backbone_of(network).modules()}
        names = [name for name, module in linear_layers(network) if id(module) in inside]
        attention = [name for name in names if name.rpartition(".")[2] in _KEYS_VALUES]
        attention = attention or [name for name in names if name.rpartition(".")[2] in _FUSED]
        second = [name for name in names if name.endswith(_SECOND) and ".attention." not in name]
        if not attention or not second:
            rule = "must have keys, values and a feed-forward part with known names"
            fix = (
                "Name them: strategy=peft strategy.method=ia3 "
                "'strategy.options={target_modules: [...], feedforward_modules: [...]}'."
            )
            raise ConfigError(Problem("model", rule, Verbatim(type(network).__name__), fix))
        return {"target_modules": [*attention, *second], "feedforward_modules": second}
