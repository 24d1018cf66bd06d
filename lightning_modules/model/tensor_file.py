"""Restore a network from a file of safetensors, without a second copy of even one tensor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from lightning_modules.model.state import trained_alike

if TYPE_CHECKING:
    from torch import Tensor, nn

PIECE_BYTES = 2**24
"""How much of a tensor is read at once, unless one of its rows is larger."""


def restore_file(network: nn.Module, path: Path) -> None:
    """Copy the tensors of `trained_state`, saved at `path`, into the network.

    Each piece is read from a memory map of its own. So its pages leave the memory with it, while
    one map keeps those of the whole file until its last tensor is gone.

    Raises:
        KeyError: The network trains different tensors.

    """
    with safe_open(path, framework="pt") as file:
        names = tuple(file.keys())
    for name, tensor in trained_alike(network, names).items():
        _copy(path, name, tensor)


def _copy(path: Path, name: str, to: Tensor) -> None:
    if to.ndim == 0 or to.nbytes <= PIECE_BYTES // 2:  # it may be in bf16, and in fp32 in the file
        with safe_open(path, framework="pt") as file:
            to.copy_(file.get_tensor(name))
        return
    num_rows = max(1, PIECE_BYTES // (4 * to[0].numel()))
    for start in range(0, len(to), num_rows):
        with safe_open(path, framework="pt") as file:
            rows = file.get_slice(name)
            assert rows.get_shape() == list(to.shape), name
            to[start : start + num_rows].copy_(rows[start : start + num_rows])
