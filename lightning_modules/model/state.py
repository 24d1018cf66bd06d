"""The trained part of a network as tensors: found, copied, restored, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return by name what training changes: parameters, and buffers of what `trains_buffers`."""
    found: dict[str, Tensor] = {
        name: parameter.data
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    for path, module in network.named_modules():
        if getattr(type(module), "trains_buffers", False):
            found.update(module.named_buffers(prefix=path))
    return found


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the trained tensors by name, on the CPU."""
    return {name: each.detach().cpu().clone() for name, each in trained_tensors(network).items()}


def restore_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors that `trained_state` gave into the network.

    Raises:
        KeyError: The network trains other tensors than the state holds.

    """
    trained = trained_tensors(network)
    if trained.keys() != state.keys():
        raise KeyError(f"the state is of another network: {sorted(trained.keys() ^ state.keys())}")
    for name, tensor in trained.items():
        tensor.copy_(state[name])


def num_bytes_of(values: Any) -> int:
    """Return the bytes of all tensors in nested mappings and sequences."""
    if isinstance(values, Mapping):
        return sum(map(num_bytes_of, values.values()))
    if isinstance(values, list | tuple):
        return sum(map(num_bytes_of, values))
    return int(getattr(values, "nbytes", 0))


def first_unsound(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor that holds NaN or infinity, None where none does."""
    return next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return (trained, all) numbers of parameters."""
    counts = [(_num_values(p), p.requires_grad) for p in network.parameters()]
    return sum(number for number, trained in counts if trained), sum(number for number, _ in counts)


def _num_values(parameter: Tensor) -> int:
    if type(parameter).__name__ != "Params4bit":
        return parameter.numel()
    # bitsandbytes packs two values of 4 bits in each byte, as PEFT counts them, too.
    return 2 * parameter.numel() * parameter.element_size()
