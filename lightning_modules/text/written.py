"""What a network wrote, and what it should have written, as tokens in one tensor.

Shapes: B examples, T tokens of an example, G generated tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.batch.type import IGNORED, Batch

if TYPE_CHECKING:
    from torch import Tensor

NUM_SHOWN = 64  # tokens of a prompt and of its reference continuation in the table


def reference_of(batch: Batch, row: int, prompt_length: int) -> Tensor:
    """Return the tokens after an example's prompt, up to the end of its document at most."""
    import torch

    labels_T = batch["labels"][row, prompt_length - 1 :]
    if "position_ids" in batch:
        (starts,) = torch.where(batch["position_ids"][row, prompt_length:] == 0)
        labels_T = labels_T[: int(starts[0]) + 1] if len(starts) else labels_T
    return labels_T[:NUM_SHOWN]


def scattered(found: Sequence[Tensor] | Tensor, places: Sequence[int], size: int) -> Tensor:
    """Return `size` rows: the given ones at their places, `IGNORED` elsewhere."""
    import torch

    width = max(map(len, found))
    spread = torch.full((size, width), IGNORED, dtype=torch.int32)
    for place, each in zip(places, found, strict=True):
        spread[place, : len(each)] = each.cpu()
    return spread


def decoded(ids_BG: Tensor, tokenizer: Any) -> list[str]:
    """Return the texts of tokens, without special tokens."""
    rows = ([number for number in row if number != IGNORED] for row in ids_BG.tolist())
    return [
        tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for row in rows
    ]
