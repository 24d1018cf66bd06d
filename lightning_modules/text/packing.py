"""Packing: documents laid end to end and cut into blocks of one length, so that none is padded.

A document of tokens t_1 ... t_n is n + 1 pairs of an input and its target,

    begin -> t_1, t_1 -> t_2, ..., t_n -> end,

and a block is `length` pairs that follow each other, whatever documents they are of. So every
token is a target exactly once, a block has as many targets as inputs, and no target is lost where
blocks meet. Where documents are kept apart, `position_ids` begin at 0 with each document (and with
each block): transformers reads from them who may see whom.

Cost: of attention, length^2 a block, however short the documents are.
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
        inputs: The tokens that are read, the first of them `begin`.
        targets: The token that follows each; `IGNORED` where it is not to be learnt.
        num_characters: Characters that the targets write down.
        num_bytes: The same in UTF-8.

    """

    inputs: Sequence[int]
    targets: Sequence[int]
    num_characters: int
    num_bytes: int


def packed(
    documents: Sequence[Document], length: int, *, apart: bool, filler: int
) -> dict[str, list[Any]]:
    """Return the blocks' columns; `row` is the number of the document that a block begins in.

    A document's characters count where its last token is, so that their sum is right.

    Args:
        documents: All of them, in order.
        length: Pairs a block.
        apart: Whether documents must not see each other.
        filler: Fills the last block, with targets that are none.

    """
    import numpy as np

    sizes = np.array([len(document.inputs) for document in documents])
    ends = sizes.cumsum()
    starts = ends - sizes
    num_pairs = int(ends[-1])
    num_blocks = -(-num_pairs // length)
    begins = np.arange(num_blocks) * length
    inputs = np.concatenate([np.array(each.inputs, np.int32) for each in documents])
    targets = np.concatenate([np.array(each.targets, np.int32) for each in documents])
    num_missing = num_blocks * length - num_pairs
    columns: dict[str, Any] = {
        "input_ids": np.append(inputs, np.full(num_missing, filler, np.int32)),
        "labels": np.append(targets, np.full(num_missing, IGNORED, np.int32)),
    }
    if apart:
        # Counted from the document's beginning or the block's, whichever is later.
        origin = np.maximum(np.repeat(starts, sizes), np.arange(num_pairs) // length * length)
        positions = np.arange(num_pairs, dtype=np.int32) - origin.astype(np.int32)
        columns["position_ids"] = np.append(positions, np.arange(num_missing, dtype=np.int32))
    cut: dict[str, list[Any]] = {
        name: np.split(column, begins[1:]) for name, column in columns.items()
    }
    first = np.searchsorted(ends, begins, side="right")
    last_block = (ends - 1) // length
    for name in ("num_characters", "num_bytes"):
        counts = [getattr(document, name) for document in documents]
        summed = np.bincount(last_block, weights=counts, minlength=num_blocks)
        cut[name] = [int(count) for count in summed]
    # What is continued for a look at it: the first half of what the block's first token sees.
    heads = np.minimum(ends[first] if apart else num_pairs, begins + length) - begins
    cut["prompt_length"] = [max(1, int(head) // 2) for head in heads]
    cut["row"] = [int(row) for row in first]
    return cut
