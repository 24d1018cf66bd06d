"""Batches of examples of equal length, as packing makes them: read directly, without padding.

Batches are read from Arrow's buffers, which the operating system maps from the disk. So a corpus
can be larger than memory, and a batch takes microseconds, not milliseconds, which would slow down
the steps of a small network.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor


class Blocks(TorchDataset[Any]):
    """A data set in which all lists of a column have equal length; returns whole batches."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._chunks: dict[str, list[np.ndarray[Any, Any]]] = {}
        for name in dataset.column_names:
            chunks = dataset.data.column(name).chunks
            self._chunks[name] = [_rows_of(chunk) for chunk in chunks if len(chunk)]
        sizes = [len(chunk) for chunk in next(iter(self._chunks.values()))]
        self._starts = [sum(sizes[:place]) for place in range(len(sizes))]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        places = [self._place(row) for row in rows]
        return {
            name: _tensor(np.stack([chunks[at][row] for at, row in places]))
            for name, chunks in self._chunks.items()
        }

    def _place(self, row: int) -> tuple[int, int]:
        """Return the index of a row's chunk, and the row's index in the chunk."""
        at = bisect_right(self._starts, row) - 1
        return at, row - self._starts[at]


class Windows(Blocks):
    """The same blocks as one stream: item i is the window of block length that starts at i."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.length = len(dataset[0]["input_ids"])

    def __getitems__(self, starts: Sequence[int]) -> dict[str, Tensor]:
        return {
            name: _tensor(np.stack([self._window(chunks, start) for start in starts]))
            for name, chunks in self._chunks.items()
        }

    def _window(self, chunks: list[np.ndarray[Any, Any]], start: int) -> np.ndarray[Any, Any]:
        row, offset = divmod(start, self.length)
        at, place = self._place(row)
        parts = [chunks[at][place, offset:]]
        if offset:
            after, next_place = self._place(row + 1)
            parts.append(chunks[after][next_place, :offset])
        return np.concatenate(parts)


def are_blocks(dataset: Dataset) -> bool:
    """Return whether each column holds integers, or lists of integers of one length."""
    import pyarrow
    import pyarrow.compute

    for name in dataset.column_names:
        column = dataset.data.column(name)
        kind = column.type
        if pyarrow.types.is_list(kind):
            sizes = pyarrow.compute.min_max(pyarrow.compute.list_value_length(column)).as_py()
            if sizes["min"] != sizes["max"] or not pyarrow.types.is_integer(kind.value_type):
                return False
        elif not pyarrow.types.is_integer(kind):
            return False
    return len(dataset) > 0 and dataset._indices is None


def collate_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch unchanged: the collate function for data sets that return whole batches."""
    return batch


def _rows_of(chunk: Any) -> np.ndarray[Any, Any]:
    import pyarrow

    if not pyarrow.types.is_list(chunk.type):
        return np.asarray(chunk)
    # Not `values`, which also includes rows of neighbouring chunks.
    return np.asarray(chunk.flatten()).reshape(len(chunk), -1)


def _tensor(rows: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(rows).long()
