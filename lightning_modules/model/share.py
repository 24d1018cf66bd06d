"""Copies of a network that share the weights which no run changes.

A copy has modules and parameters of its own, so wrapping layers, turning dropout off, freezing and
moving to a device leave the original unchanged. The tensors behind the parameters are the
original's, until `own_trained` copies those that are trained. So a run starts from a network on
its device without copying the frozen weights, and the next run finds them as they were.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

N = TypeVar("N", bound="nn.Module")


def sharing_copy(network: N) -> N:
    """Return a copy of the network with the same tensors behind its parameters.

    Buffers are copied: they are small, and forward passes may write to them.
    """
    shared = {id(each): _sharing(each) for each in network.parameters()}
    scales = (getattr(each, "quant_state", None) for each in network.parameters())
    # The scales of 4-bit weights, 3 % of their bytes. Their layers refer to them, too.
    shared |= {id(each): each for each in scales if each is not None}
    # Each module has a dozen of dictionaries, nearly all empty. `deepcopy` takes ten times as long.
    held = (value for module in network.modules() for value in vars(module).values())
    shared |= {id(each): type(each)() for each in held if type(each) in _PLAIN and not each}
    return copy.deepcopy(network, shared)


_PLAIN = (dict, OrderedDict)


def own_trained(adapted: nn.Module, original: nn.Module) -> None:
    """Copy the trained weights that `adapted` shares with `original`, in fp32 and in place."""
    import torch

    shared = {_place(parameter) for parameter in original.parameters()}
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            copies = _place(parameter) in shared
            parameter.data = parameter.data.to(torch.float32, copy=copies)


def num_bytes(network: nn.Module) -> int:
    """Return the bytes of the network's parameters and buffers."""
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers()))


def _sharing(parameter: Tensor) -> Tensor:
    from torch import nn

    if type(parameter) is not nn.Parameter:  # 4-bit weights, which are never trained
        return parameter
    return nn.Parameter(parameter.data, requires_grad=parameter.requires_grad)


def _place(parameter: Any) -> int:
    return int(parameter.untyped_storage().data_ptr())
