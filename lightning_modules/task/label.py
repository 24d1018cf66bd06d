"""Labels as class numbers: their order, and checks for labels that cannot be right."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_modules.error import DataError, Problem, Verbatim, did_you_mean
from lightning_modules.rows import cell
from lightning_modules.rows.columns import cells_of
from lightning_modules.rows.corpus import Row
from lightning_modules.rows.digest import digests
from lightning_modules.rows.spelling import respelt

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_SHOWN = 5


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels in class-number order.

    >>> in_order({"10", "9", "unknown", "-1"})
    ('-1', '9', '10', 'unknown')
    """
    return tuple(sorted(set(labels), key=_by_value))


def rarely_repeat(num_labels: int, num_rows: int) -> bool:
    """Return whether there are too many distinct labels for a column of labels."""
    return num_labels > max(20, num_rows // 2)


def unseen(
    found: Mapping[str, Iterable[str]], seen: Collection[str], noun: str = "label"
) -> Iterator[Problem]:
    """Yield a problem for each split that has labels missing from the training rows.

    Args:
        found: The labels by split.
        seen: The labels of the training rows.
        noun: What messages call a label.

    """
    for split, labels in found.items():
        foreign = sorted(set(labels) - set(seen))
        if foreign:
            rule = f"every {noun} of {split} must be in the training rows"
            shown = ", ".join(map(repr, foreign[:NUM_SHOWN]))
            num_left = len(foreign) - NUM_SHOWN
            more = f" and {num_left} more" if num_left > 0 else ""
            fix = did_you_mean(foreign[0], seen) if len(seen) <= 20 else ""
            yield Problem("data.label", rule, Verbatim(shown + more), fix)


def check_known(found: Iterable[str], labels: Sequence[str]) -> None:
    """Raise DataError if labels are found that the model does not know."""
    foreign = sorted(set(found) - set(labels))
    if foreign:
        rule = f"must be one of the model's labels {', '.join(labels)}"
        raise DataError(Problem("data.label", rule, foreign[0]))


def of_export(labels: Sequence[str], cell_type: cell.Cell | None) -> tuple[str, ...]:
    """Return the labels of an export as rows have them now; tags stay as they are.

    Args:
        labels: The labels, in the order of their class numbers.
        cell_type: The type of the cells with labels.

    """
    is_spelt = cell_type in (cell.label, cell.labels)
    return respelt(labels) if is_spelt else tuple(labels)


def conflicting(
    texts: Iterable[NDArray[Any]], labels: Iterable[str], noun: str = "labels"
) -> Iterator[str]:
    """Yield a note if some text occurs with different labels.

    Args:
        texts: The `identities` of rows, one array after the other.
        labels: The label of each row, in one text.
        noun: What messages call labels.

    """
    import numpy as np

    texts_N, labels_N = np.concatenate([*texts]), digests(labels)
    order = np.lexsort((labels_N, texts_N))
    texts_N, labels_N = texts_N[order], labels_N[order]
    is_same = texts_N[1:] == texts_N[:-1]
    is_other = is_same & (labels_N[1:] != labels_N[:-1])
    number = len(np.unique(texts_N[1:][is_other]))
    if number:
        yield f"{number} {'text occurs' if number == 1 else 'texts occur'} with different {noun}"


def numbers(rows: Sequence[Row], labels: Sequence[str]) -> list[int]:
    """Return the class number of each row's label."""
    number = {label: index for index, label in enumerate(labels)}
    return [number[label] for label in cells_of(rows, "label")]


def _by_value(label: str) -> tuple[int, float, str]:
    try:
        value = float(label)
    except ValueError:
        return 1, 0.0, label
    return (0, value, label) if math.isfinite(value) else (1, 0.0, label)
