"""Examples of one length, as packing makes them: a batch is taken as it lies, without padding.

Arrow's own memory is read, which the operating system maps from the disk: a corpus larger than
memory can be trained on, and a batch costs microseconds, not the milliseconds that a step of a
small network would notice.
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
    """A data set whose every list has the length of its column; gives batches, not examples."""

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
        """Return the chunk that a row is in, and its place there."""
        at = bisect_right(self._starts, row) - 1
        return at, row - self._starts[at]


class Windows(Blocks):
    """The same blocks as one stream: of each place a window of a block's length begins there."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.length = len(dataset[0]["input_ids"])

    def __getitems__(self, begins: Sequence[int]) -> dict[str, Tensor]:
        return {
            name: _tensor(np.stack([self._window(chunks, begin) for begin in begins]))
            for name, chunks in self._chunks.items()
        }

    def _window(self, chunks: list[np.ndarray[Any, Any]], begin: int) -> np.ndarray[Any, Any]:
        row, offset = divmod(begin, self.length)
        at, place = self._place(row)
        parts = [chunks[at][place, offset:]]
        if offset:
            after, next_place = self._place(row + 1)
            parts.append(chunks[after][next_place, :offset])
        return np.concatenate(parts)


def are_blocks(dataset: Dataset) -> bool:
    """Say whether each column holds numbers, or lists of numbers that are all of one length."""
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


def as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch: a collate function for what is one already."""
    return batch


def _rows_of(chunk: Any) -> np.ndarray[Any, Any]:
    import pyarrow

    if not pyarrow.types.is_list(chunk.type):
        return np.asarray(chunk)
    # Not `values`, which has the rows of the chunk's neighbours too.
    return np.asarray(chunk.flatten()).reshape(len(chunk), -1)


def _tensor(rows: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(rows).long()
