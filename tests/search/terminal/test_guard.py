from __future__ import annotations

from search.terminal.guard import plan_lines
from tests.search.study.conftest import GUARD, plan_of

LABELS = ("negative", "positive")


def test_a_guard_and_its_cost_are_said_before() -> None:
    assert list(plan_lines(plan_of(GUARD), LABELS, 200)) == [
        "old: loss at most 0.5; 200 rows (validation: 200) scored once per finished trial, and "
        "once per worker on the untouched model",
        "a row of theirs is estimated to take as long as one of a validation",
    ]
    assert list(plan_lines(plan_of(), LABELS, 200)) == []
