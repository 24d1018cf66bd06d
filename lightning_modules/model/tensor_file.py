"""A file of safetensors as a mapping that reads one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import safe_open
from torch import Tensor


class TensorFile(Mapping[str, Tensor]):
    """The tensors of a file by name, on the CPU.

    Each is read when it is asked for, from a memory map of its own. So its pages leave the memory
    with it, while `load_file` keeps those of the whole file until the last tensor is gone.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = tuple(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
