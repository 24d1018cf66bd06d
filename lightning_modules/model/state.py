"""The trained part of a network as tensors: list, copy, restore and count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return by name what training changes: parameters, and buffers of `trains_buffers` modules."""
    tensors: dict[str, Tensor] = {
        name: parameter.data
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    for path, module in network.named_modules():
        if getattr(type(module), "trains_buffers", False):
            tensors.update(module.named_buffers(prefix=path))
    return tensors


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the trained tensors by name, on the CPU."""
    return {name: each.detach().cpu().clone() for name, each in trained_tensors(network).items()}


def trained_alike(network: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return what training changes; raise KeyError if its names are not these."""
    trained, names = trained_tensors(network), set(names)
    if trained.keys() != names:
        differing = sorted(trained.keys() ^ names)
        raise KeyError(f"the state is from another network: {differing}")
    return trained


def restore_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors from `trained_state` into the network.

    Raises:
        KeyError: The network trains different tensors.

    """
    for name, tensor in trained_alike(network, state).items():
        tensor.copy_(state[name])


def num_bytes_of(values: Any) -> int:
    """Return the bytes of all tensors in nested mappings and sequences."""
    if isinstance(values, Mapping):
        return sum(map(num_bytes_of, values.values()))
    if isinstance(values, list | tuple):
        return sum(map(num_bytes_of, values))
    return int(getattr(values, "nbytes", 0))


def first_non_finite(state: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with NaN or infinity; None if there is none."""
    return next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return the numbers of (trained, all) parameters."""
    counts = [(num_values(p), p.requires_grad) for p in network.parameters()]
    return sum(number for number, trained in counts if trained), sum(number for number, _ in counts)


def num_values(parameter: Tensor) -> int:
    """Return the number of a parameter's values."""
    if type(parameter).__name__ != "Params4bit":
        return parameter.numel()
    # bitsandbytes packs two 4-bit values into each byte; PEFT counts them the same way.
    return 2 * parameter.numel() * parameter.element_size()
