"""Collate examples into a batch: the tokenizer pads its own columns, `Collate` pads the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lightning_modules.batch.type import IGNORED

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class Collate:
    """Pads examples to the longest of their batch; a class, so that data workers can pickle it.

    A column of numbers becomes a tensor of shape (B,), a column of lists a tensor of shape (B, T)
    padded with `IGNORED`. All columns are padded at the end, even if the tokenizer's default is
    the left side, so that they stay aligned with the tokens. A mask is added only if there is
    padding.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known = {*tokenizer.model_input_names, "input_ids", "attention_mask"}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        names = examples[0].keys()
        if len({len(example["input_ids"]) for example in examples}) == 1:
            return {name: _tensor([example[name] for example in examples]) for name in names}
        known = [name for name in names if name in self._known]
        read = [{name: list(example[name]) for name in known} for example in examples]
        batch = dict(self._tokenizer.pad(read, padding_side="right", return_tensors="pt"))
        for name in names - self._known:
            batch[name] = _tensor([example[name] for example in examples])
        return {name: batch[name] for name in (*names, *batch)}


def _tensor(cells: Sequence[Any]) -> Tensor:
    if isinstance(cells[0], np.ndarray):
        cells = [cell.tolist() for cell in cells]
    if not isinstance(cells[0], list):
        return torch.tensor(cells)
    longest = max(map(len, cells))
    return torch.tensor([[*cell, *[IGNORED] * (longest - len(cell))] for cell in cells])
