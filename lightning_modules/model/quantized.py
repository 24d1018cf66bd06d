"""Linear layers with 4-bit weights, by bitsandbytes: which they are, how they compute, and back.

A frozen matrix is stored as NF4: in blocks of 64 values, each value is the index of one of 16
quantiles of a normal distribution, scaled by the block's largest value; these scales are quantized
again. It is converted for each product.

Paper: Dettmers et al. 2023, arXiv:2305.14314 (NF4, double quantization).
Cost: 0.52 bytes a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning_modules.model.multimodal import other_parts
from lightning_modules.model.part import modules_after_layers, new_parts

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def nf4(skeleton: PreTrainedModel) -> Any:
    """Return the settings by which transformers quantizes a network.

    Args:
        skeleton: The same network without weights.

    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=sorted(set(_kept(skeleton))),
    )


def _kept(skeleton: Any) -> Iterator[str]:
    """Yield the names of the modules that are not quantized.

    These are the head, poolers (which are trained if the weights lack them), the output layer, and
    what no text passes through.
    """
    output = skeleton.get_output_embeddings()
    kept = [output, *modules_after_layers(skeleton)]
    names = {id(module): name for name, module in skeleton.named_modules()}
    yield from (names[id(module)] for module in kept if module is not None)
    yield from new_parts(skeleton)
    yield from other_parts(skeleton)


def is_4bit(module: nn.Module) -> bool:
    """Return whether a module is a linear layer with 4-bit weights."""
    return type(dict(module.named_parameters(recurse=False)).get("weight")).__name__ == "Params4bit"


def quantized_layers(network: nn.Module) -> dict[str, Any]:
    """Return the linear layers with 4-bit weights by name."""
    return {name: module for name, module in network.named_modules() if is_4bit(module)}


def compute_as_run(network: nn.Module) -> None:
    """Let quantized layers compute in the run's precision, in place.

    On their own they would compute in bfloat16, or in the dtype of their first input. On a CPU with
    bf16 units they would rearrange their weights when they are first evaluated, for good, and have
    no gradients any more.
    """
    for layer in quantized_layers(network).values():
        layer.compute_type_is_set = True
        layer.support_avx512bf16_for_cpu = False
        layer.register_forward_pre_hook(_choose_dtype)


def _choose_dtype(layer: Any, inputs: tuple[Any, ...]) -> None:
    import torch

    device, dtype = inputs[0].device.type, inputs[0].dtype
    mixed = torch.is_autocast_enabled(device)
    layer.compute_dtype = torch.get_autocast_dtype(device) if mixed else dtype


def dequantize(network: Any) -> None:
    """Replace the quantized layers by plain ones with the same values, one by one and in place.

    The values are in the dtype that the weights were loaded in.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from torch import nn

    for name, layer in quantized_layers(network).items():
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        with torch.device("meta"):
            if layer.source_cls is nn.Linear:
                plain: Any = nn.Linear(layer.in_features, layer.out_features, bias=False)
            else:  # GPT-2's layer, which has the matrix transposed
                plain = layer.source_cls(layer.out_features, layer.in_features)
                weight = weight.t().contiguous()
        plain.weight = nn.Parameter(weight, requires_grad=False)
        plain.bias = layer.bias
        network.set_submodule(name, plain)
    network.hf_quantizer.remove_quantization_config(network)
    network.is_loaded_in_4bit = False
