"""Gradient checkpointing: the backward pass computes each layer again instead of reading it.

Of each repeated layer, only the inputs are kept between the two passes; its own activations exist
while the backward pass is in that layer. The random numbers of its dropout are set to what they
were, so every gradient is the same to the last bit.

Paper: Chen et al. 2016, arXiv:1604.06174, with one segment per layer.
Cost: one more forward pass of the layers, about a third of a step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_modules.model.part import repeated_layers


def recompute(network: nn.Module) -> bool:
    """Make the backward pass compute the layers again; return whether there are any, in place.

    It has an effect in training mode only.
    """
    layers: list[Any] = list(repeated_layers(network))
    for layer in layers:
        layer._gradient_checkpointing_func = _checkpointed
        layer.gradient_checkpointing = True
    return bool(layers)


def _checkpointed(forward: partial[Any], *inputs: Any) -> Any:
    """Call `forward` with the inputs; keep only those for the backward pass."""
    named = forward.keywords.values()
    # torch saves the random state of the devices of positional tensors, and of no others.
    place = next((each for each in (*inputs, *named) if isinstance(each, Tensor)), None)
    return checkpoint(lambda _, *given: forward(*given), place, *inputs, use_reentrant=False)
