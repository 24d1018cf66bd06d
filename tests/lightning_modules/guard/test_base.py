from __future__ import annotations

import pytest

from lightning_modules.guard.base import Bound, parse_bound
from lightning_modules.outcome import GuardScore


@pytest.mark.parametrize(
    ("text", "is_most", "untouched", "limit", "words"),
    [
        ("+5%", True, 2.0, 2.1, "at most +5 %"),
        (" -2.5 % ", False, 0.8, 0.78, "at least -2.5 %"),
        ("-10%", False, -0.5, -0.55, "at least -10 %"),  # lower than a value below 0
        (3, True, 2.0, 3.0, "at most 3"),
        (0.75, False, 0.9, 0.75, "at least 0.75"),
    ],
)
def test_a_bound_is_a_number_or_a_share_of_the_untouched_value(
    text: object, is_most: bool, untouched: float, limit: float, words: str
) -> None:
    bound = parse_bound(text, is_most=is_most)
    assert bound is not None and str(bound) == words
    assert bound.limit(untouched) == pytest.approx(limit)


@pytest.mark.parametrize("text", ["5%", "five", "+5", "", None, True, [1], "+5%%"])
def test_other_text_is_no_bound(text: object) -> None:
    assert parse_bound(text, is_most=True) is None


@pytest.mark.parametrize(
    ("value", "limit", "is_most", "excess"),
    [
        (2.2, 2.0, True, 0.1),
        (2.0, 2.0, True, 0.0),
        (0.7, 0.8, False, 0.125),
        (0.9, 0.8, False, -0.125),
        (0.5, 0.0, True, 0.5),
        (1e308, 1.0, True, 1e9),
    ],
)
def test_the_excess_says_how_far_a_guard_is_broken(
    value: float, limit: float, is_most: bool, excess: float
) -> None:
    score = GuardScore("old", "loss", value, 1.0, limit, is_most, "")
    assert score.excess == pytest.approx(excess)
    assert score.is_broken is (excess > 0)


def test_a_value_equal_to_the_untouched_one_keeps_a_guard_of_no_change() -> None:
    bound = Bound(0.0, is_most=True, is_share=True)
    score = GuardScore("old", "loss", 1 / 3, 1 / 3, bound.limit(1 / 3), True, str(bound))
    assert not score.is_broken
