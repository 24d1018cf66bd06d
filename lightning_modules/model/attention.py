"""How a network computes attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class Attention(Enum):
    """How attention is computed; for others transformers would run kernels from the hub."""

    eager = "eager"
    sdpa = "sdpa"


def built(build: Callable[[Mapping[str, str]], T], attention: Attention) -> T:
    """Return a network with that attention, or with `eager` if its architecture has no other.

    Args:
        build: Builds the network with settings of transformers.
        attention: The attention.

    """
    try:
        return build({"attn_implementation": attention.value})
    except ValueError as error:
        if attention is Attention.eager or "scaled_dot_product_attention" not in str(error):
            raise
        return build({"attn_implementation": Attention.eager.value})


def attention_notes(network: Any, attention: Attention | None) -> Iterator[str]:
    """Yield that a network computes attention in another way than was asked for, if it does."""
    if attention is not Attention.sdpa:
        return
    configs = (getattr(module, "config", None) for module in network.modules())
    config = next((each for each in configs if hasattr(each, "_attn_implementation")), None)
    if getattr(config, "_attn_implementation", None) == Attention.eager.value:
        name = type(config).__name__.removesuffix("Config")
        yield f"attention is computed as eager: {name} has no other in transformers"
