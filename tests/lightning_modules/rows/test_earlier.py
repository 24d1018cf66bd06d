from __future__ import annotations

from typing import Any

import pytest

from lightning_modules.rows import cell
from lightning_modules.rows.earlier import earlier, label, labels


@pytest.mark.parametrize(
    ("given", "before", "now"),
    [
        ("True", "True", "true"),
        ("0.50", "0.50", "0.5"),
        ("-0", "-0", "0"),
        ("4.00", "4", "4"),
        (1e-7, "1e-07", "0.0000001"),
        (4.0, "4", "4"),
        (True, "true", "true"),
        (7, "7", "7"),
        (" a word ", "a word", "a word"),
    ],
)
def test_a_label_of_earlier_versions(given: Any, before: str, now: str) -> None:
    assert (label(given), cell.label(given)) == (before, now)
    assert (labels([given]), cell.labels([given])) == ([before], [now])


@pytest.mark.parametrize("given", [None, " ", ["a"], {}, float("nan")])
def test_what_is_no_label_is_refused_as_now(given: Any) -> None:
    assert label(given) == cell.label(given)
    assert labels([given]) == cell.labels([given])
    assert given == ["a"] or labels(given) == cell.labels(given)


def test_only_labels_differ() -> None:
    cells = {"text": cell.text, "label": cell.label, "tags": cell.tags}
    assert earlier(cells) == {"text": cell.text, "label": label, "tags": cell.tags}
