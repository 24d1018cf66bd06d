"""Weights of labels in the loss, so that rare labels are not ignored.

`balanced` is w(c) = n / (C * n_c) for n training rows with C labels, n_c of them with label c:
all labels then have the same total weight (King and Zeng 2001; scikit-learn's `balanced`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning_modules.error import DataError, Problem, did_you_mean
from lightning_modules.rows import cell

BALANCED = "balanced"


def weight_problems(weights: Any) -> Iterator[Problem]:
    """Yield the problems of a configuration's `class_weights`."""
    if weights is None or weights == BALANCED:
        return
    fix = f"Set task.class_weights={BALANCED}, or a mapping, e.g. {{spam: 5.0}}."
    if not isinstance(weights, Mapping) or not weights:
        yield Problem("class_weights", "must be a mapping of labels to weights", weights, fix)
        return
    for name, weight in weights.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            yield Problem(f"class_weights.{name}", "must be a number > 0", weight)


def weight_of_each(given: Any, counts: Counter[str], labels: Sequence[str]) -> dict[str, float]:
    """Return the weight of each label, in the order of `labels`.

    Args:
        given: The configured value: `balanced` or a mapping.
        counts: Number of training rows with each label.
        labels: The labels in class-number order.

    Raises:
        DataError: The mapping names a label that no training row has.

    """
    if given == BALANCED:
        # A sample of the rows, e.g. a probe's, may lack a label.
        share = counts.total() / len(labels)
        return {name: share / max(1, counts[name]) for name in labels}
    words = {name: name if name in labels else str(cell.label(name)) for name in given}
    named = {words[name]: float(weight) for name, weight in given.items()}
    for name in named:
        if name not in labels:
            rule = "must name labels of the training rows"
            fix = did_you_mean(name, labels)
            raise DataError(Problem("task.class_weights", rule, name, fix))
    return {name: named.get(name, 1.0) for name in labels}
