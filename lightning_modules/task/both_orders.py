"""Pairs of texts that mean the same in both orders, answered with the mean of both.

A network that reads two texts one after the other answers a little differently if they are
swapped. Cost: twice the time of predictions, and none of the training, which reads each pair once.

Shapes: B examples, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.rows.corpus import Row, normalized

if TYPE_CHECKING:
    from torch import Tensor


def with_swapped(rows: Sequence[Row]) -> list[Row]:
    """Return each row, followed by the row with its two texts swapped.

    >>> with_swapped([{"text": "a", "text_pair": "b"}])
    [{'text': 'a', 'text_pair': 'b'}, {'text': 'b', 'text_pair': 'a'}]
    """
    return [each for row in rows for each in (row, _swapped(row))]


def sorted_pair(row: Row) -> Row:
    """Return a row that is the same, but for case and space, for both orders of its two texts."""
    if "text_pair" not in row:
        return row
    return min(row, _swapped(row), key=lambda each: normalized(each["text"]))


def mean_of_row(values_B: Tensor, row_B: Tensor, num_rows: int) -> Tensor:
    """Return the mean of the values of each row's examples, (N,)."""
    sums_N = values_B.new_zeros(num_rows).index_add_(0, row_B, values_B)
    return sums_N / row_B.bincount(minlength=num_rows)


def _swapped(row: Row) -> dict[str, Any]:
    return {**row, "text": row["text_pair"], "text_pair": row["text"]}
