"""The output layer of a network that writes: its module, and how logits follow from its outputs.

    logits = after(layer(h)),  h the last hidden states

`after` is the identity in most architectures. Others scale the logits (Granite, Cohere), cap them
at cap * tanh(logits / cap) (Gemma 2, arXiv:2408.00118, section 2.1), or add a constant per token
(BART). The configuration names the candidates; the one whose logits of two probes equal the
network's own is taken. So an architecture that does anything else to its logits is noticed.

Cost: one pass over three tokens, once per network.
Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_modules.machine.memory import is_out_of_memory
from lightning_modules.model.head import writes
from lightning_modules.model.mode import evaluating

# How configurations call a factor of the logits. Some divide by it, others multiply.
_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
_CAP = "final_logit_softcapping"
_BIAS = "final_logits_bias"
# Sizes of the probes' values: some of what can follow shows in large logits only.
_PROBES = (1.0, 1000.0)

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OutputLayer:
    """The output layer of a network.

    Attributes:
        layer: The module that is called once per pass, with the last hidden states.
        after: What the network does to the module's outputs, in this order.
        num_logits: V.

    """

    layer: nn.Module
    after: tuple[Step, ...]
    num_logits: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """Return the logits of last hidden states, with any leading dimensions."""
        logits: Tensor = self.layer(hidden)
        for step in self.after:
            logits = step(logits)
        return logits

    @property
    def trained(self) -> list[nn.Parameter]:
        """Return the module's parameters that are trained, e.g. those of an adapter."""
        return [each for each in self.layer.parameters() if each.requires_grad]

    def hidden(self, network: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        """Return the last hidden states (B, T, D) of a pass, which computes next to no logits."""
        with _with_inputs(self.layer, lambda hidden_BTD: hidden_BTD[:1, :1]) as seen:
            network(**inputs)
        (hidden_BTD,) = seen
        return hidden_BTD


class StandIn:
    """What is called in place of a network whose pass is done, and answers with its part of it.

    Attributes:
        stands_for: The network.

    """

    def __init__(self, network: nn.Module) -> None:
        self.stands_for = network


_found: WeakKeyDictionary[nn.Module, OutputLayer | None] = WeakKeyDictionary()


def output_layer(network: nn.Module | StandIn) -> OutputLayer | None:
    """Return a network's output layer; None if its logits are not known to come from one."""
    if isinstance(network, StandIn):
        network = network.stands_for
    if network not in _found:
        _found[network] = _find(network)
    return _found[network]


def _find(network: Any) -> OutputLayer | None:
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    layer = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    if layer is None:
        return None
    with evaluating(network), torch.no_grad(), keeping_no_casts(next(network.parameters())):
        probed = _probed(network, base, layer)
        if probed is None:
            return None
        hidden, logits = probed
        size = logits.shape[-1]
        candidates = (OutputLayer(layer, after, size) for after in _candidates(base))
        return next((each for each in candidates if _are_equal(each(hidden), logits)), None)


def _candidates(base: Any) -> Iterator[tuple[Step, ...]]:
    """Yield what a network may do to its output layer's outputs, by its configuration."""
    config = base.config.get_text_config(decoder=True)
    bias, cap = getattr(base, _BIAS, None), getattr(config, _CAP, None)
    scales: list[tuple[Step, ...]] = [()]
    for name in _SCALES:
        value = getattr(config, name, None)
        if isinstance(value, int | float) and value not in (0, 1):
            scales += [(partial(_times, value),), (partial(_divided, value),)]
    for scale in scales:
        yield scale
        if cap:
            yield (*scale, partial(_capped, cap))
        if bias is not None:
            yield (*scale, partial(_plus, bias))


def _times(factor: float, logits: Tensor) -> Tensor:
    return logits * factor


def _divided(divisor: float, logits: Tensor) -> Tensor:
    return logits / divisor


def _capped(cap: float, logits: Tensor) -> Tensor:
    return torch.tanh(logits / cap) * cap


def _plus(bias: Tensor, logits: Tensor) -> Tensor:
    return logits + bias.to(logits.device).flatten()


def _probed(network: Any, base: Any, layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return the two probes (1, 2, D) and the network's logits of them; None if it has no such."""
    logits: list[Tensor] = []

    def probes(hidden_BTD: Tensor) -> Tensor:
        # Not the hidden states themselves, which may be 0.
        wave_D = torch.arange(hidden_BTD.shape[-1], device=hidden_BTD.device).sin()
        return torch.stack([size * wave_D for size in _PROBES]).to(hidden_BTD.dtype)[None]

    # A PEFT wrapper may cut what the base returns.
    handle = base.register_forward_hook(lambda _, inputs, output: logits.append(output.logits))
    try:
        with _with_inputs(layer, probes) as seen:
            network(**_three_tokens(base))
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        return None  # the network needs logits of every token, or returns them by another name
    finally:
        handle.remove()
    if len(seen) != 1 or seen[0].dim() != 3 or len(logits) != 1 or not logits[0].any():
        return None
    return probes(seen[0]), logits[0]


def _three_tokens(base: Any) -> dict[str, Any]:
    ids_BT = torch.zeros((1, 3), dtype=torch.long, device=next(base.parameters()).device)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT), "use_cache": False}
    if base.config.is_encoder_decoder and writes(base):
        inputs["decoder_input_ids"] = ids_BT
    return inputs


def _are_equal(found: Tensor, wanted: Tensor) -> bool:
    # Up to the rounding of bf16.
    return found.shape == wanted.shape and torch.allclose(
        found.float(), wanted.float(), rtol=1e-2, atol=1e-6
    )


@contextmanager
def _with_inputs(layer: nn.Module, change: Step) -> Iterator[list[Tensor]]:
    """Change the inputs of a layer while the context is open; yield the list of the actual ones."""
    seen: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        seen.append(inputs[0])
        return (change(inputs[0]), *inputs[1:])

    handle = layer.register_forward_pre_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def keeping_no_casts(like: Tensor) -> torch.autocast:
    """Return a context like the current one, but autocast's copies of weights are not kept.

    Copies made without gradients would be used again by the next pass, which needs gradients.
    """
    kind = like.device.type
    return torch.autocast(
        kind,
        dtype=torch.get_autocast_dtype(kind),
        enabled=torch.is_autocast_enabled(kind),
        cache_enabled=False,
    )
