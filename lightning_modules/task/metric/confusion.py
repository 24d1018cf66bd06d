"""The confusion matrix as a table that a person reads, and back.

Example: `{"label": "positive", "predicted negative": 3, "predicted positive": 17}`, one record per
true label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONFUSION = "confusion"
"""The name of the table, for every task that has one."""


def confusion_records(
    labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Return the table of a matrix: `counts[i][j]` rows of label i were predicted as j.

    >>> confusion_records(["a", "b"], [[5, 1], [0, 2]])[0]
    {'label': 'a', 'predicted a': 5, 'predicted b': 1}
    """
    # The prefix separates a label that is called "label" from the column of labels.
    names = [f"predicted {label}" for label in labels]
    return [
        {"label": label, **dict(zip(names, row, strict=True))}
        for label, row in zip(labels, counts, strict=True)
    ]


def confusion_counts(
    records: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[list[int]]]:
    """Return the labels and the matrix of a table that `confusion_records` made.

    >>> confusion_counts(confusion_records(["a", "b"], [[5, 1], [0, 2]]))
    (['a', 'b'], [[5, 1], [0, 2]])
    """
    labels = [str(record["label"]) for record in records]
    return labels, [[record[f"predicted {label}"] for label in labels] for record in records]
