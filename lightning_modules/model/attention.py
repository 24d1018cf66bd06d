"""How a network computes attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
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


def has_sdpa(architecture: str) -> bool | None:
    """Return whether transformers can compute an architecture's attention as sdpa.

    Read from the source of its network, as an import would import torch, too.

    Args:
        architecture: The `model_type` of a configuration.

    Returns:
        None if its source is not where that of most is.

    """
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        return None
    name = architecture.replace("-", "_")
    path = Path(spec.origin).parent / "models" / name / f"modeling_{name}.py"
    return "_supports_sdpa = True" in path.read_text("utf-8") if path.is_file() else None


def eager_note(architecture: str) -> str:
    """Return that an architecture's attention is computed in another way than was asked for."""
    return f"attention is computed as eager: {architecture} has no other in transformers"


def attention_notes(network: Any, attention: Attention | None) -> Iterator[str]:
    """Yield that a network computes attention in another way than was asked for, if it does."""
    if attention is not Attention.sdpa:
        return
    configs = (getattr(module, "config", None) for module in network.modules())
    config = next((each for each in configs if hasattr(each, "_attn_implementation")), None)
    if config is not None and config._attn_implementation == Attention.eager.value:
        yield eager_note(config.model_type)
