"""Scores of a ranking: where the text that belongs to another stands among all candidates.

With r the rank of the right text, counted from 1: mrr is the mean of 1 / r; ndcg_10 the mean of
1 / log2(1 + r) for r <= 10, else 0 (Jarvelin and Kekalainen 2002, with one right text); recall_k
the share of r <= k. Candidates that are as near share the mean of their ranks.

Shapes: N rows, M candidates, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 1024
"""Rows whose cosines with all candidates are in memory at once."""


def ranks(
    texts_ND: Tensor, candidates_MD: Tensor, right: Sequence[int], also: Sequence[Sequence[int]]
) -> Tensor:
    """Return the rank of each row's right candidate, from 1, in float64 (N,).

    Cost: O(N M D) operations.

    Args:
        texts_ND: Vectors of length 1.
        candidates_MD: Vectors of length 1.
        right: The number of each row's right candidate.
        also: The numbers of other right candidates of the row, which are left out of its ranking.

    """
    import torch

    found = []
    for start in range(0, len(texts_ND), AT_ONCE):
        cosines_BM = texts_ND[start : start + AT_ONCE] @ candidates_MD.T
        rows = range(len(cosines_BM))
        own_B1 = cosines_BM[rows, right[start : start + AT_ONCE]].unsqueeze(1)
        for row, others in zip(rows, also[start : start + AT_ONCE], strict=True):
            cosines_BM[row, list(others)] = -torch.inf
        nearer_B = (cosines_BM > own_B1).sum(dim=1)
        as_near_B = (cosines_BM == own_B1).sum(dim=1) - 1
        found.append(1 + nearer_B.double() + as_near_B.double() / 2)
    return torch.cat(found)


VALUES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mrr": lambda ranks_N: 1 / ranks_N,
    "ndcg_10": lambda ranks_N: (ranks_N <= 10) / (1 + ranks_N).log2(),
    "recall_1": lambda ranks_N: (ranks_N <= 1).double(),
    "recall_10": lambda ranks_N: (ranks_N <= 10).double(),
}
"""By metric, its value for each row, whose mean it is."""


def expected(metric: str, num_candidates: int) -> float:
    """Return the score of an order drawn at random.

    >>> expected("recall_1", 4), round(expected("mrr", 2), 3)
    (0.25, 0.75)
    """
    import torch

    return float(VALUES[metric](torch.arange(1, num_candidates + 1).double()).mean())
