"""The floating-point operations of a training step per token, from the network's matrices.

A matrix of N values takes 2 N operations per token in the forward pass. In the backward pass it
takes 2 N for the gradient of its input if anything below it is trained, and 2 N for its own
gradient if it is trained itself. So a network whose N values are all trained takes 6 N, and LoRA
4 N + 6 n with n adapter values.

Source: Kaplan et al. 2020, arXiv:2001.08361, and PaLM (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B), whose term for attention itself, 12 layers * width * tokens, is left out here: 5 % for
1 billion parameters and 1,000 tokens. As there, computing activations again does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.model.state import num_values

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Flops:
    """Operations of a training step.

    Attributes:
        per_token: For each token that the network reads.
        per_target: For each token that it predicts: those of the output layer.

    """

    per_token: float
    per_target: float


def flops_of(network: Any) -> Flops | None:
    """Return the operations of a training step; None if tokens do not share all matrices.

    This is so for mixtures of experts, and for encoder-decoders, whose halves read different texts.
    """
    configs = (getattr(module, "config", None) for module in network.modules())
    if any(getattr(config, "is_encoder_decoder", False) for config in configs):
        return None
    output, flops = _output_layer(network), {True: 0.0, False: 0.0}
    for is_above, matrix in _matrices(network, output):
        if matrix.ndim > 2:
            return None
        num_products = 1 + is_above + matrix.requires_grad
        flops[matrix is output] += 2 * num_values(matrix) * num_products
    return Flops(per_token=flops[False], per_target=flops[True])


def _matrices(network: Any, output: Tensor | None) -> Iterator[tuple[bool, Tensor]]:
    """Yield the matrices that multiply activations, and whether anything below is trained.

    Modules are listed in the order in which they compute, except the virtual tokens that PEFT
    puts before the first layer and lists last.
    """
    from torch import nn

    config = getattr(network, "peft_config", {}).get("default")
    is_above = config is not None and config.is_prompt_learning
    is_trained = any(each.requires_grad for each in network.parameters())
    # Frozen layers whose outputs are given do not compute, see `model.stem`.
    left_out = getattr(network, "left_out", ())
    seen = {id(parameter) for layer in left_out for parameter in layer.parameters()}
    for module in network.modules():
        is_lookup = isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False):
            is_matrix = parameter.ndim > 1 and (not is_lookup or parameter is output)
            if is_matrix and id(parameter) not in seen:
                seen.add(id(parameter))
                # An output layer that is listed as an embedding computes last all the same.
                yield is_above or (is_lookup and is_trained), parameter
            is_above = is_above or parameter.requires_grad


def _output_layer(network: Any) -> Tensor | None:
    """Return the matrix of the layer that predicts tokens; None if the network has none."""
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    layer = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    weight: Tensor | None = None if layer is None else layer.weight
    return weight
