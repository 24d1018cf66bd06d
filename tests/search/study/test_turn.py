"""The rule by which arms take turns, without a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from search.space.space import Options
from search.study.turn import Asked, is_opening, next_arm, next_opening, ranking

arms = A, B, C, D, E, F = tuple((name,) for name in "abcdef")


def sequence(
    scores: Mapping[Options, float],
    number: int,
    *,
    budget: int = 100,
    halve: bool = True,
    delay: int = 0,
) -> list[Options]:
    """Return the arms of the first trials if every trial of an arm has the same score.

    Args:
        scores: Score by arm.
        number: How many trials.
        budget: How many turns there are in all.
        halve: Whether the worse half drops out.
        delay: How many trials are running when the next one is asked for.

    """
    asked: list[Asked] = []
    for at in range(number):
        seen = [
            Asked(each.options, {}, is_turn=True, score=scores[each.options])
            if place < at - delay
            else each
            for place, each in enumerate(asked)
        ]
        options = next_arm(tuple(scores), seen, budget, halve=halve)
        assert options is not None
        asked.append(Asked(options, {}, is_turn=True, is_running=True))
    return [each.options for each in asked]


def test_three_arms_open_then_the_best_two_continue_then_the_best() -> None:
    scores = {A: 0.1, B: 0.3, C: 0.2}
    assert sequence(scores, 20) == [A, B, C] * 3 + [B, C] * 3 + [B] * 5


def test_six_arms_become_three_then_two_then_one() -> None:
    scores = dict(zip(arms, (0.4, 0.1, 0.6, 0.2, 0.5, 0.3), strict=True))
    assert sequence(scores, 40) == [*arms] * 3 + [C, E, A] * 3 + [C, E] * 3 + [C] * 7


def test_a_small_budget_opens_the_better_half_only() -> None:
    scores = dict(zip(arms, (0.4, 0.1, 0.6, 0.2, 0.5, 0.3), strict=True))
    assert sequence(scores, 12, budget=12) == [*arms] + [C, E, A] * 2
    assert sequence(scores, 17, budget=17) == [*arms] + [C, E, A] * 2 + [C, E] * 2 + [C, E][:1]
    assert sequence(scores, 18, budget=18) == [*arms] * 3
    assert sequence(scores, 4, budget=4) == [*arms][:4]


def test_with_several_objectives_every_arm_keeps_its_share() -> None:
    turns = Counter(sequence({A: 0.1, B: 0.9, C: 0.2}, 30, halve=False))
    assert turns == {A: 10, B: 10, C: 10}


@pytest.mark.parametrize("delay", [1, 3, 8])
def test_running_trials_count_as_asked_for(delay: int) -> None:
    scores = {A: 0.1, B: 0.3, C: 0.2}
    made = sequence(scores, 40, delay=delay)
    assert made[:9] == [A, B, C] * 3
    assert set(made[20:]) == {B}
    assert Counter(made)[A] <= 6 and Counter(made)[C] <= 9


def test_an_arm_that_a_late_result_lifts_catches_up_first() -> None:
    before = [Asked(arm, {}, is_turn=True, score=0.5 if arm is B else 0.4) for arm in (A, B) * 3]
    late = [Asked(C, {}, is_turn=True, is_running=True)] * 3
    more = [Asked(arm, {}, is_turn=True, score=0.5 if arm is B else 0.4) for arm in (B, A) * 3]
    assert next_arm((A, B, C), [*before, *late, *more], 30) == B
    done = [Asked(C, {}, is_turn=True, score=0.9)] * 3
    asked = [*before, *done, *more]
    made: list[Options | None] = []
    for _ in range(8):
        made.append(next_arm((A, B, C), asked, 30))
        assert made[-1] is not None
        asked.append(Asked(made[-1], {}, is_turn=True, score=0.9 if made[-1] == C else 0.4))
    assert made == [C] * 8  # it catches up, and leads


def test_trials_without_a_score_rank_after_those_that_may_get_one() -> None:
    asked = [
        Asked(A, {}, is_turn=True),  # e.g. diverged
        Asked(B, {}, is_turn=True, is_running=True),
        Asked(C, {}, is_turn=True, score=-5.0),
    ]
    assert ranking((A, B, C), asked) == [C, B, A]
    assert ranking((A, B, C), []) == [A, B, C]


def test_one_lucky_score_does_not_make_the_best_arm() -> None:
    asked = [Asked(A, {}, is_turn=True, score=score) for score in (0.9, 0.1)]
    asked += [Asked(B, {}, is_turn=True, score=score) for score in (0.7, 0.6, 0.1)]
    assert ranking((A, B), asked) == [B, A]


def test_trials_that_failed_do_not_make_an_arm_better() -> None:
    asked = [Asked(A, {}, is_turn=True, score=score) for score in (0.80, None, None)]
    asked += [Asked(B, {}, is_turn=True, score=score) for score in (0.86, 0.72, 0.70)]
    assert ranking((A, B), asked) == [B, A]
    running = [Asked(A, {}, is_turn=True, is_running=True)] * 2
    assert ranking((A, B), [asked[0], *running, *asked[3:]]) == [A, B]


def test_an_arm_whose_trials_all_diverged_drops_out() -> None:
    asked = [Asked(arm, {}, is_turn=True, score=None if arm is A else 0.1) for arm in (A, B, C) * 3]
    made: Sequence[Options | None] = [
        next_arm((A, B, C), [*asked, *([Asked(B, {}, is_turn=True)] * extra)], 30)
        for extra in range(4)
    ]
    assert A not in made


def test_an_arm_without_combinations_left_is_passed_over() -> None:
    asked = [Asked(arm, {}, is_turn=True, score=1.0 if arm is A else 0.1) for arm in (A, B, C) * 3]
    assert next_arm((A, B, C), asked, 30, {A}) == B
    assert next_arm((A, B, C), asked, 30, {A, B}) == C
    assert next_arm((A, B, C), asked, 30, {A, B, C}) is None
    assert next_arm((A, B, C), asked, 30, {A, B, C}, halve=False) is None


def test_enqueued_trials_are_no_turns_but_their_results_count() -> None:
    asked = [Asked(C, {}, is_turn=False, score=0.9)] * 5
    assert next_arm((A, B, C), asked, 30) == A
    opened = [Asked(arm, {}, is_turn=True, score=0.1) for arm in (A, B, C) * 3]
    assert next_arm((A, B, C), [*asked, *opened], 30) == C


LR = "optimizer.lr"
OPENING = ({LR: 3e-3}, {LR: 3e-4})


def test_an_opening_is_tried_once_in_order() -> None:
    default = Asked(A, {LR: 1e-3}, is_turn=True)
    up = Asked(A, {LR: 3e-3}, is_turn=True)
    down = Asked(A, {LR: 3e-4}, is_turn=True)
    assert next_opening(OPENING, A, [default]) == {LR: 3e-3}
    assert next_opening(OPENING, A, [default, up]) == {LR: 3e-4}
    assert next_opening(OPENING, A, [default, up, down]) == {}
    assert next_opening(OPENING, B, [default, up]) == {LR: 3e-3}


def test_a_learning_rate_that_was_enqueued_is_not_opened_with_again() -> None:
    asked = [Asked(A, {LR: 1e-3}, is_turn=True), Asked(A, {LR: 2.5e-3}, is_turn=False)]
    assert next_opening(OPENING, A, asked) == {LR: 3e-4}


def test_only_the_opening_is_known_beforehand() -> None:
    asked = [Asked(arm, {}, is_turn=True) for arm in (A, B, C) * 3]
    assert is_opening((A, B, C), asked[:8], 30)
    assert not is_opening((A, B, C), asked, 30)
    assert not is_opening((A, B, C), asked[:3], 8)
