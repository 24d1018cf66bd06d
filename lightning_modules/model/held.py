"""Weights held in bf16, and computed in the precision of the run.

The matrices of linear layers and embeddings are held in bf16, 2 bytes a value. Everything else
(norms, biases, weights that the file lacks) is in fp32, and so is what passes between the layers.
- Under autocast to bf16 a linear layer multiplies its matrix as it is. In fp32, autocast would
  round it to the same bits in each step, and keep both until the backward pass.
- Otherwise it converts its matrix for one product, and once more for the gradient of its input.
- An embedding converts the rows that it has read.

So if the file has bf16, the outputs are bit-equal to those of the network held in fp32. The few
architectures that convert what passes between layers to the dtype of a weight round it to bf16:
Gemma its scaled embeddings, T5 the inputs of its last inner layer, mixtures those of their experts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

LOW = (torch.bfloat16, torch.float16)
NUM_EXPERT_DIMENSIONS = 3
"""Of a parameter with the matrices of all experts of a layer."""


class HeldLinear(nn.Linear):
    """A linear layer with its matrix in bf16."""

    compute_dtype = torch.float32
    """PEFT makes adapters of this dtype; by default it would round their first values to bf16."""

    def forward(self, input: Tensor) -> Tensor:
        if _computes_as_held(input, self.weight):
            return super().forward(input)
        return _product(input.float(), self.weight, self.bias)


class HeldConv1D(Conv1D):  # type: ignore[misc]
    """GPT-2's linear layer, which has the matrix transposed, with this in bf16."""

    compute_dtype = torch.float32

    def forward(self, x: Tensor) -> Tensor:
        if _computes_as_held(x, self.weight):
            output: Tensor = super().forward(x)
            return output
        return _product(x.float(), self.weight.t(), self.bias)


def hold(network: PreTrainedModel) -> None:
    """Let a network that was loaded in bf16 compute in the run's precision, in place."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.dtype not in LOW:
            continue
        if type(module) is nn.Linear:
            module.__class__ = HeldLinear
        elif type(module) is Conv1D:
            module.__class__ = HeldConv1D
        elif isinstance(module, nn.Embedding):
            module.register_forward_hook(_widened)
    held = {id(parameter) for module in network.modules() for parameter in _held(module)}
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dtype in LOW and id(tensor) not in held:
            tensor.data = tensor.data.float()
    network.config.dtype = torch.float32


def holds(network: nn.Module) -> bool:
    """Return whether some frozen weights of the network are held in bf16."""
    return any(each.dtype in LOW and not each.requires_grad for each in network.parameters())


def in_fp32(network: Any) -> Any:
    """Return the network with all weights in fp32, changed in place."""
    for parameter in network.parameters():
        if parameter.dtype in LOW:
            parameter.data = parameter.data.float()
    return network


def draw_in_fp32(network: PreTrainedModel, names: Iterable[str], random_state: Tensor) -> None:
    """Draw the weights that the file lacks again, in fp32: the same as if all were loaded in fp32.

    Args:
        network: The network, in which they were drawn in bf16.
        names: Their names.
        random_state: torch's random state before the network was loaded.

    """
    torch.set_rng_state(random_state)
    for name in set(names) - set(network.all_tied_weights_keys):
        path, _, last = name.rpartition(".")
        module: Any = network.get_submodule(path)
        weight = getattr(module, last)
        if isinstance(weight, nn.Parameter):
            empty = torch.empty_like(weight, dtype=torch.float32)
            setattr(module, last, nn.Parameter(empty, requires_grad=weight.requires_grad))
            for parent in _parents(path):
                network.get_submodule(parent)._is_hf_initialized = False
    network.initialize_weights()


def _parents(path: str) -> Iterator[str]:
    """Yield the path and those above it, to the empty one of the network."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield path


def _held(module: nn.Module) -> Iterator[Tensor]:
    """Yield the module's own parameters that stay in bf16."""
    if isinstance(module, HeldLinear | HeldConv1D | nn.Embedding):
        yield module.weight
    elif not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        yield from (p for p in module.parameters(recurse=False) if p.ndim >= NUM_EXPERT_DIMENSIONS)


def _computes_as_held(input: Tensor, weight: Tensor) -> bool:
    return torch.is_autocast_enabled(input.device.type) or weight.dtype not in LOW


def _product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if weight.requires_grad:
        return functional.linear(input, weight.to(input.dtype), bias)
    product: Tensor = _Product.apply(input, weight, bias)  # type: ignore[no-untyped-call]
    return product


class _Product(torch.autograd.Function):
    """y = x W^T + b with W frozen in bf16, of which no converted copy is kept."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return functional.linear(input, weight.to(input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,), (weight,) = gradients, ctx.saved_tensors
        of_bias = gradient.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return gradient @ weight.to(gradient.dtype), None, of_bias


def _widened(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()
