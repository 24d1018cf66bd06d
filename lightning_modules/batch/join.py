"""Join a task's observations of single batches in the order of the examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_modules.batch.type import IGNORED


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the observations of several batches, each padded at the ends to the largest size.

    >>> first, second = {"ids_BT": torch.ones(1, 1)}, {"ids_BT": torch.ones(1, 2)}
    >>> joined([first, second])["ids_BT"].tolist()
    [[1.0, -100.0], [1.0, 1.0]]
    """
    return {name: torch.cat(_of_one_size([part[name] for part in parts])) for name in parts[0]}


def in_row_order(
    observed: Sequence[Mapping[str, Tensor]], batches: Sequence[Sequence[int]]
) -> dict[str, Tensor]:
    """Join the observations of `batches` (lists of example numbers), in example order."""
    order = torch.tensor([row for batch in batches for row in batch]).argsort()
    return {name: tensor[order] for name, tensor in joined(observed).items()}


def _of_one_size(tensors: list[Tensor]) -> list[Tensor]:
    sizes = {tensor.shape[1:] for tensor in tensors}
    if len(sizes) == 1:
        return tensors
    greatest = [max(size) for size in zip(*sizes, strict=True)]
    padded = []
    for tensor in tensors:
        missing = [most - have for most, have in zip(greatest, tensor.shape[1:], strict=True)]
        # `pad` counts from the last dimension.
        ends = [end for each in reversed(missing) for end in (0, each)]
        padded.append(pad(tensor, ends, value=IGNORED))
    return padded
