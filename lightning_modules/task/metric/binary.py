"""Metrics of one class against all others, by the log-odds of each row.

f1, of the answers; roc_auc, the probability that a row of the class is ranked above another one,
with ties counted half (Hanley and McNeil 1982); average_precision, sum_n (R_n - R_(n-1)) P_n over
the thresholds from high to low, with precision P and recall R; precision_at_recall, the highest
P_n with R_n >= `at_recall`. Ranks decide, so none but f1 depends on a threshold. Without rows of
the class, or without others, nothing can be ranked: then roc_auc is 0.5, and the others are 0.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lightning_modules.task.metric.correlation import ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINARY: Mapping[str, Literal["maximize"]] = {
    "f1": "maximize",
    "roc_auc": "maximize",
    "average_precision": "maximize",
    "precision_at_recall": "maximize",
}
"""The metrics, with their direction."""


def binary_scores(
    odds_B: NDArray[Any], is_class_B: NDArray[Any], answered_B: NDArray[Any], at_recall: float
) -> dict[str, float]:
    """Return the metrics of `BINARY`.

    Args:
        odds_B: The log-odds of the class, or another number that orders rows alike.
        is_class_B: Whether each row is of the class.
        answered_B: Whether that was the answer.
        at_recall: The least recall of `precision_at_recall`, in (0, 1].

    """
    right = int((is_class_B & answered_B).sum())
    total = int(is_class_B.sum()) + int(answered_B.sum())
    precision, recall, gained = _curve(odds_B, is_class_B)
    return {
        "f1": 2 * right / total if total else 0.0,
        "roc_auc": _roc_auc(odds_B, is_class_B),
        "average_precision": float((precision * gained).sum()),
        # 1e-9: a recall of 9 of 10 rows is 0.9.
        "precision_at_recall": float(precision[recall >= at_recall - 1e-9].max(initial=0.0)),
    }


def binary_guess(metric: str, share: float) -> float:
    """Return what a guess that is the same for each row has; `share` of the rows are of the class.

    >>> binary_guess("roc_auc", 0.1), binary_guess("average_precision", 0.1)
    (0.5, 0.1)
    """
    if metric == "f1":  # always the class: precision `share`, recall 1
        return 2 * share / (1 + share)
    return 0.5 if metric == "roc_auc" else share


def share_of(name: str, labels: Sequence[str]) -> float:
    """Return the share of the rows with a label."""
    return sum(label == name for label in labels) / len(labels)


def _roc_auc(odds_B: NDArray[Any], is_class_B: NDArray[Any]) -> float:
    num, others = int(is_class_B.sum()), int((~is_class_B).sum())
    if not num or not others:
        return 0.5
    above = float(ranks(odds_B)[is_class_B].sum()) - num * (num + 1) / 2
    return above / (num * others)


def _curve(
    odds_B: NDArray[Any], is_class_B: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return precision and recall at each threshold, from high to low, and the recall gained."""
    import numpy as np

    num = int(is_class_B.sum())
    if not num:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    order = np.argsort(-odds_B, kind="stable")
    last = np.append(np.flatnonzero(np.diff(odds_B[order])), len(order) - 1)  # of equal ones
    right = np.cumsum(is_class_B[order])[last]
    precision, recall = right / (last + 1), right / num
    return precision, recall, np.diff(recall, prepend=0.0)
