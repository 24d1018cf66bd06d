"""Packing: concatenate documents and cut them into blocks of one length, without padding.

A document of tokens t_1 ... t_n is n + 1 pairs of an input and its target,

    begin -> t_1, t_1 -> t_2, ..., t_n -> end,

and a block is `length` consecutive pairs, regardless of document boundaries. So every token is a
target exactly once, a block has as many targets as inputs, and no target is lost between blocks.
If documents are kept apart, `position_ids` restart at 0 with each document (and with each block);
transformers derives the attention mask from them.

Cost: attention takes length^2 per block, however short the documents are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_modules.batch.type import IGNORED


@dataclass(frozen=True)
class Document:
    """A text as pairs of input and target.

    Attributes:
        inputs: The input tokens; the first is `begin`.
        targets: The token after each input; `IGNORED` if it is not trained on.
        num_characters: Characters in the text of the targets.
        num_bytes: Bytes of that text in UTF-8.

    """

    inputs: Sequence[int]
    targets: Sequence[int]
    num_characters: int
    num_bytes: int


def packed(
    documents: Sequence[Document], length: int, *, apart: bool, filler: int
) -> dict[str, list[Any]]:
    """Return the blocks' columns; `row` is the number of the document in which a block starts.

    A document's characters and bytes are counted in the block of its last token, so that their
    sums are exact.

    Args:
        documents: All documents, in order.
        length: Pairs per block.
        apart: Whether documents must not attend to each other.
        filler: Token that fills the last block; its targets are `IGNORED`.

    """
    import numpy as np

    sizes = np.array([len(document.inputs) for document in documents])
    ends = sizes.cumsum()
    starts = ends - sizes
    num_pairs = int(ends[-1])
    num_blocks = -(-num_pairs // length)
    block_starts = np.arange(num_blocks) * length
    inputs = np.concatenate([np.array(each.inputs, np.int32) for each in documents])
    targets = np.concatenate([np.array(each.targets, np.int32) for each in documents])
    num_missing = num_blocks * length - num_pairs
    columns: dict[str, Any] = {
        "input_ids": np.append(inputs, np.full(num_missing, filler, np.int32)),
        "labels": np.append(targets, np.full(num_missing, IGNORED, np.int32)),
    }
    if apart:
        # Counted from the start of the document or of the block, whichever is later.
        origin = np.maximum(np.repeat(starts, sizes), np.arange(num_pairs) // length * length)
        positions = np.arange(num_pairs, dtype=np.int32) - origin.astype(np.int32)
        columns["position_ids"] = np.append(positions, np.arange(num_missing, dtype=np.int32))
    cut: dict[str, list[Any]] = {
        name: np.split(column, block_starts[1:]) for name, column in columns.items()
    }
    first = np.searchsorted(ends, block_starts, side="right")
    last_block = (ends - 1) // length
    for name in ("num_characters", "num_bytes"):
        counts = [getattr(document, name) for document in documents]
        summed = np.bincount(last_block, weights=counts, minlength=num_blocks)
        cut[name] = [int(count) for count in summed]
    # The prompt to continue in validation: the first half of the block's first document.
    heads = np.minimum(ends[first] if apart else num_pairs, block_starts + length) - block_starts
    cut["prompt_length"] = [max(1, int(head) // 2) for head in heads]
    cut["row"] = [int(row) for row in first]
    return cut
