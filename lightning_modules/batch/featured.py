"""Examples with what a frozen part of the network makes of them.

Shapes: N examples, S tokens of all examples, T tokens of the longest example of a batch, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset as TorchDataset

if TYPE_CHECKING:
    from datasets import Dataset

FEATURES = "features"
"""Name of the column."""


@dataclass(frozen=True)
class Features:
    """What a frozen part makes of examples.

    Attributes:
        values: One entry per example, (N, D), or the vectors of their tokens, (S, D); on the CPU.
        seconds: How long the frozen part took for all of them, when it read them; 0 if unknown.

    """

    values: Tensor
    seconds: float = 0.0


class Featured(TorchDataset[Mapping[str, Tensor]]):
    """Examples as features and the columns that the network does not read; returns whole batches.

    Args:
        features: One entry per example, (N, D), on the CPU.
        columns: The other columns by name, e.g. `labels`; each value is a number or a list.

    """

    def __init__(self, features: Tensor, columns: Mapping[str, Sequence[object]]) -> None:
        others = {name: torch.tensor(values) for name, values in columns.items()}
        self._columns = {FEATURES: features, **others}

    def __len__(self) -> int:
        return len(self._columns[FEATURES])

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        if isinstance(rows, range):  # no copy
            return {name: column[rows.start : rows.stop] for name, column in self._columns.items()}
        index = torch.tensor(rows)
        return {name: column[index] for name, column in self._columns.items()}


class TokenFeatured(TorchDataset[Mapping[str, Tensor]]):
    """Examples as they are, with a vector for each of their tokens; returns whole batches.

    Args:
        features: The vectors of all examples, one example after the other, (S, D), on the CPU.
        lengths: The number of tokens of each example.
        examples: The examples.
        collate: Makes a batch of them, padded at the end.

    """

    def __init__(
        self,
        features: Tensor,
        lengths: Sequence[int],
        examples: Dataset,
        collate: Callable[[list[Any]], dict[str, Tensor]],
    ) -> None:
        self.examples = examples
        self._features_SD = features
        self._ends = list(accumulate(lengths, initial=0))
        self._collate = collate

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        batch = self._collate(self.examples.__getitems__(list(rows)))
        each = [self._features_SD[self._ends[row] : self._ends[row + 1]] for row in rows]
        return {**batch, FEATURES: pad_sequence(each, batch_first=True)}
