"""How a network computes attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_modules.machine.hardware import Device, Precision

if TYPE_CHECKING:
    from lightning_modules.machine.hardware import Hardware

T = TypeVar("T")

SHORT_TOKENS = 128
"""Tokens of a text up to which `eager` is faster in bf16 on a CPU.

There the backward pass of torch's fused attention is slow. Forward and backward of one layer with
12 heads of width 32 took 14 ms of a core as sdpa and 2.4 as eager for 16 texts of 24 tokens, 68 and
42 for 16 of 128, 64 and 66 for 8 of 256, 163 and 505 for 2 of 1,024 (AVX-512 bf16). In fp32 both
take as long for short texts.
"""


class Attention(Enum):
    """How attention is computed; for others transformers would run kernels from the hub."""

    eager = "eager"
    sdpa = "sdpa"
    auto = "auto"
    """`eager` for short texts in bf16 on a CPU, else `sdpa`."""


def chosen(attention: Attention, hardware: Hardware, max_length: int) -> Attention:
    """Return the attention of a run: what `auto` stands for, or else what was asked for.

    It follows from the hardware and the texts, not from a measurement: a trial that is trained
    again, or resumed, must compute in the same way.

    Args:
        attention: What was asked for.
        hardware: Where the run computes, and in which precision.
        max_length: The most tokens of a text.

    """
    if attention is not Attention.auto:
        return attention
    is_slow = hardware.device is Device.cpu and hardware.precision is Precision.bf16
    return Attention.eager if is_slow and max_length <= SHORT_TOKENS else Attention.sdpa


def built(build: Callable[[Mapping[str, str]], T], attention: Attention) -> T:
    """Return a network with that attention, or with `eager` if its architecture has no other.

    `auto` is `sdpa` here.

    Args:
        build: Builds the network with settings of transformers.
        attention: The attention.

    """
    if attention is Attention.auto:
        attention = Attention.sdpa
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
