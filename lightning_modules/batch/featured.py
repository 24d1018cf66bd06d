"""Examples whose inputs were replaced by what a frozen network makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

FEATURES = "features"
"""Name of the column that replaces the inputs."""


class Featured(TorchDataset[Mapping[str, Tensor]]):
    """Examples as features and the columns that the network does not read; returns whole batches.

    Args:
        features: One entry per example, on the CPU.
        columns: The other columns by name, e.g. `labels`; each value is a number or a list.

    """

    def __init__(self, features: Tensor, columns: Mapping[str, Sequence[object]]) -> None:
        others = {name: torch.tensor(values) for name, values in columns.items()}
        self._columns = {FEATURES: features, **others}

    def __len__(self) -> int:
        return len(self._columns[FEATURES])

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        index = torch.tensor(rows)
        return {name: column[index] for name, column in self._columns.items()}
