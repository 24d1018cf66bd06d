"""What `plan` says about confirming the first few; tests/search/study has the lines of results."""

from __future__ import annotations

import pytest

from search.terminal.confirm import plan_lines
from tests.search.study.conftest import plan_of

FILES = ("data=files", "data.train=my.csv")
MANY = "at most 3 of the best trials, statistically tied, and the default, on "
INSIDE = "search.max_hours includes them: the search leaves them time, at most half of it"
GIVEN = "the validation rows are given and stay, so the seed of the training varies"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ((), []),
        ((*FILES, "search.confirm=3"), [f"{MANY}3 fresh splits: at most 12 more runs"]),
        (("search.confirm=2",), [f"{MANY}2 fresh seeds: at most 8 more runs", GIVEN]),
        (
            (*FILES, "search.confirm=2", "search.max_hours=3"),
            [f"{MANY}2 fresh splits: at most 8 more runs", INSIDE],
        ),
        (
            ("search.confirm=2", "seed=choice(0,1)"),
            [
                "not done, because the seed is searched, so configurations count by their mean "
                "over seeds already"
            ],
        ),
        (
            ("search.confirm=2", "search.ask_tell=true"),
            ["not done, because a loop of yours trains the trials"],
        ),
    ],
)
def test_the_cost_or_the_reason_is_said_before(words: tuple[str, ...], lines: list[str]) -> None:
    assert list(plan_lines(plan_of(*words))) == lines


def test_runs_that_were_made_cost_nothing() -> None:
    plan = plan_of(*FILES, "search.confirm=3")
    assert list(plan_lines(plan, 9)) == [f"{MANY}3 fresh splits: at most 9 more runs"]
    assert list(plan_lines(plan, 0)) == [f"{MANY}3 fresh splits: no more runs"]
