"""Which arm a trial belongs to: the arms take turns, and the better half continues.

Each arm has `NUM_OPENING` turns: its default, then its learning rate times 3 and divided by 3
(`search.plan.opening`). Then the better half of the arms has `NUM_ROUND` more turns each, then the
better half of these, until one is left, which has the rest of the budget. If the budget is too
small for all openings, only the better half by their defaults has the other two turns. An arm is as
good as its best two trials on average, because a single score may be luck.

A trial whose arm is decided in this way counts as a turn as soon as it is asked for, so workers in
parallel share out the turns as one would. The decision is a function of the trial's number, the
trials asked for and the results so far. Nothing is struck off for ever: if a late result lifts an
arm into the better half, it catches up first.

This is sequential halving (Karnin, Koren and Somekh 2013, ICML) with rounds of equal length, so
that the budget may be raised later. `benchmarks/arms.py` compares it with other ways.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence, Sized
from dataclasses import dataclass

from search.plan.opening import LEARNING_RATE, is_near
from search.space.space import Options, Values

NUM_OPENING = 3
NUM_ROUND = 3
NUM_BEST = 2


@dataclass(frozen=True)
class Asked:
    """A trial that was asked for, as far as its arm is concerned.

    Attributes:
        options: Its arm.
        values: Its values by config path, as far as they are known.
        is_turn: Whether it is one of the arm's turns: its default, or a trial whose arm was decided
            here. Enqueued configurations are none.
        is_running: Whether it may still get a score.
        score: Its result, higher is better; None without one.

    """

    options: Options
    values: Values
    is_turn: bool
    is_running: bool = False
    score: float | None = None


def next_arm(
    arms: Sequence[Options],
    asked: Sequence[Asked],
    num_turns: int,
    full: Collection[Options] = (),
    *,
    halve: bool = True,
) -> Options | None:
    """Return the arm whose turn it is; None if all are full.

    Args:
        arms: The arms that may be chosen, the default one first.
        asked: The trials asked for so far.
        num_turns: The budget, without enqueued configurations.
        full: Arms whose every combination was asked for.
        halve: Whether the worse half of the arms drops out after each round.

    """
    if all(arm in full for arm in arms):
        return None
    turns = Counter(each.options for each in asked if each.is_turn)
    ranked = ranking(arms, asked)
    for number, (left, quota) in enumerate(_rounds(ranked, num_turns, halve=halve)):
        behind = [arm for arm in left if turns[arm] < quota and arm not in full]
        if behind:
            # In the first round, results do not change the order, so it is known beforehand.
            place = {options: at for at, options in enumerate(ranked if number else arms)}
            return min(behind, key=lambda arm: (turns[arm], place[arm]))
    return next((arm for arm in ranked if arm not in full), None)


def ranking(arms: Sequence[Options], asked: Sequence[Asked]) -> list[Options]:
    """Return the arms, best first; those that may still get a first score before the rest."""
    worst = min((each.score for each in asked if each.score is not None), default=0.0)

    def key(options: Options) -> tuple[int, float]:
        own = [each for each in asked if each.options == options]
        scores = sorted((each.score for each in own if each.score is not None), reverse=True)
        if scores:
            # A trial that failed or was pruned is no better than the worst one that was not.
            failed = [worst for each in own if each.score is None and not each.is_running]
            return 0, -statistics.mean([*scores, *failed][:NUM_BEST])
        return (1 if any(each.is_running for each in own) else 2), 0.0

    return sorted(arms, key=key)  # stable: ties keep the earlier arm first


def next_opening(opening: Sequence[Values], options: Options, asked: Sequence[Asked]) -> Values:
    """Return the values that the arm's next turn starts with, none if its opening is over."""
    own = [each for each in asked if each.options == options]
    if sum(each.is_turn for each in own) >= NUM_OPENING:
        return {}
    rates = [float(each.values[LEARNING_RATE]) for each in own if LEARNING_RATE in each.values]
    left = (
        values
        for values in opening
        if not any(is_near(float(values[LEARNING_RATE]), rate) for rate in rates)
    )
    return next(left, {})


def is_opening(arms: Sequence[Options], asked: Sequence[Asked], num_turns: int) -> bool:
    """Return whether the next turn depends on no result."""
    turns = Counter(each.options for each in asked if each.is_turn)
    return any(turns[arm] < num_first(arms, num_turns) for arm in arms)


def num_first(arms: Sized, num_turns: int) -> int:
    """Return how many turns each arm has before the worse half drops out."""
    return NUM_OPENING if num_turns >= NUM_OPENING * len(arms) else 1


def _rounds(
    ranked: Sequence[Options], num_turns: int, *, halve: bool
) -> Iterator[tuple[Sequence[Options], float]]:
    """Yield the arms of each round, and how many turns each of them has had after it."""
    left, quota = ranked, num_first(ranked, num_turns)
    while len(left) > 1:
        yield left, quota
        left = left[: math.ceil(len(left) / 2)] if halve else left
        quota = NUM_OPENING if quota < NUM_OPENING else quota + NUM_ROUND
    yield left, math.inf
