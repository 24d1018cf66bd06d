"""The size of a model, estimated from its config.json without loading anything.

With width D, inner width F, attention width A (key and value width G), L layers, E experts and V
tokens, a network has about V D (twice if input and output embeddings differ) plus, per layer,
2 D A + 2 D G for attention and 2 D F for the rest: 3 D F if that part is gated, times E if a
mixture of experts takes its place. Norms, biases and positions are left out: a few per cent.

For its backward pass a layer keeps per token the inputs of its two norms, and of what follows them,
queries, keys, values and what attention returns, and 2 F, or 4 F if gated: 4 D + 2 A + 2 G + 2 F
values. Attention itself keeps nothing of the order of tokens^2 if it is a fused kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_modules.model.pair import PAIR

_GATED_TYPES = ("gemma", "modernbert")  # their activation's name does not say so
_GATED_ACTIVATIONS = ("silu", "swish", "swiglu")


@dataclass(frozen=True)
class Size:
    """The size of a network.

    Attributes:
        parameters: Number of parameters, about.
        experts: Whether it is a mixture of experts, of which a token uses a few.
        embeddings: Parameters of the input and output embeddings, which are among them.
        ends: Inputs and outputs of all linear layers together: a low-rank adapter of rank r on each
            has r times as many parameters.
        layers: Layers, of which one with cross-attention counts as more than one.
        width: D.
        kept: Values per token that all layers keep for the backward pass.

    """

    parameters: float
    experts: bool = False
    embeddings: float = 0.0
    ends: float = 0.0
    layers: float = 0.0
    width: float = 0.0
    kept: float = 0.0


def size_of(config: Mapping[str, Any]) -> Size | None:
    """Return the size of the network of a config.json; None if the file does not say it.

    >>> bert = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
    >>> round(size_of({**bert, "num_attention_heads": 12, "vocab_size": 30522}).parameters / 1e6)
    108
    """
    if config.get("model_type") == PAIR:
        parts = [size_of(config[name]) for name in ("encoder", "decoder")]
        known = [part for part in parts if part is not None]
        return _sum(known) if len(known) == len(parts) else None
    text = config.get("text_config")
    config = {**config, **text} if isinstance(text, Mapping) else config
    width = _number(config, "hidden_size", "d_model", "n_embd", "dim")
    vocabulary = _number(config, "vocab_size")
    if width is None or vocabulary is None or not _num_layers(config):
        return None
    embeddings = vocabulary * width * (1 if config.get("tie_word_embeddings", True) else 2)
    layers = _num_layers(config)
    return Size(
        parameters=embeddings + sum(num * _layer(config, width, inner) for num, inner in layers),
        experts=_num_experts(config) > 1,
        embeddings=embeddings,
        ends=sum(num * _ends(config, width, inner) for num, inner in layers),
        layers=sum(num for num, _ in layers),
        width=width,
        kept=sum(num * _kept(config, width, inner) for num, inner in layers),
    )


def _sum(parts: Sequence[Size]) -> Size:
    """Return the size of a network of several; the widest counts for its width."""
    numbers = ("parameters", "embeddings", "ends", "layers", "kept")
    return Size(
        **{name: sum(getattr(part, name) for part in parts) for name in numbers},
        width=max(part.width for part in parts),
    )


def _num_layers(config: Mapping[str, Any]) -> list[tuple[float, float | None]]:
    """Return how many layers there are of each inner width; cross-attention counts half a layer."""
    encoder, decoder = _number(config, "encoder_layers"), _number(config, "decoder_layers")
    if encoder is not None and decoder is not None:  # BART
        inner = _number(config, "encoder_ffn_dim"), _number(config, "decoder_ffn_dim")
        return [(encoder, inner[0]), (1.33 * decoder, inner[1])]
    layers = _number(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    inner_width = _number(config, "intermediate_size", "d_ff", "n_inner", "hidden_dim", "ffn_dim")
    if layers is None:
        return []
    if config.get("is_encoder_decoder"):  # T5
        return [(2.33 * layers, inner_width)]
    return [(layers, inner_width)]


def _widths(config: Mapping[str, Any], width: float) -> tuple[float, float]:
    """Return A and G, the widths of all queries and of all keys or values."""
    heads = _number(config, "num_attention_heads", "n_head", "n_heads", "num_heads") or 1
    head = _number(config, "head_dim", "d_kv") or width / heads
    return heads * head, (_number(config, "num_key_value_heads") or heads) * head


def _ends(config: Mapping[str, Any], width: float, inner: float | None) -> float:
    queries, keys = _widths(config, width)
    attention = 2 * (width + queries) + 2 * (width + keys)
    return attention + (3 if _is_gated(config) else 2) * (width + (inner or 4 * width))


def _kept(config: Mapping[str, Any], width: float, inner: float | None) -> float:
    queries, keys = _widths(config, width)
    attention = 4 * width + 2 * queries + 2 * keys
    return attention + (4 if _is_gated(config) else 2) * (inner or 4 * width)


def _layer(config: Mapping[str, Any], width: float, inner: float | None) -> float:
    queries, keys = _widths(config, width)
    attention = 2 * width * (queries + keys)
    factors = 3 if _is_gated(config) else 2
    inner = inner or 4 * width
    num_experts = _num_experts(config)
    if num_experts > 1:
        return attention + num_experts * 3 * width * (_number(config, *_INNER_OF_EXPERT) or inner)
    return attention + factors * width * inner


_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_INNER_OF_EXPERT = ("moe_intermediate_size", "expert_ffn_hidden_size")


def _num_experts(config: Mapping[str, Any]) -> float:
    return _number(config, *_EXPERTS) or 1


def _is_gated(config: Mapping[str, Any]) -> bool:
    activations = (config.get("hidden_act"), config.get("hidden_activation"))
    return (
        any(name in _GATED_ACTIVATIONS for name in activations)
        or str(config.get("model_type", "")).startswith(_GATED_TYPES)
        or str(config.get("feed_forward_proj", "")).startswith("gated")
    )


def _number(config: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of the named values that is a positive number."""
    values = (config.get(name) for name in names)
    numbers = (float(value) for value in values if isinstance(value, int | float) and value > 0)
    return next(numbers, None)
