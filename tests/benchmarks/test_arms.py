"""The simulated arms: no landscape promises what no run had, and ceilings see all of it."""

from __future__ import annotations

import numpy as np
import pytest
from arms import WAYS, drawn, place_of_miss
from arms_parts.landscape import NUM_LANDSCAPES, RANGE, formulas, landscapes
from arms_parts.named import named
from arms_parts.study import Chosen, run_study
from recorded.replay import Candidates


def test_no_interpolation_is_far_above_all_recorded_runs() -> None:
    found = landscapes()
    assert len(found) == NUM_LANDSCAPES
    recorded = [each for each in found if each.error]
    assert len(recorded) >= 5
    for each in recorded:
        assert each.beyond < each.error, each.name
        assert max(each.top(at) for at in (-RANGE, 0, RANGE)) == each.top(0)


def test_without_noise_the_ceiling_is_the_best_arm_at_its_best() -> None:
    (way,) = (way for way in WAYS if way.knows)
    for seed in range(20):
        arms, tops = drawn(formulas(), 3, seed)
        chosen = run_study(way, arms, 12, seed, noisy=False)
        assert chosen.arm == int(np.argmax(tops))
        assert chosen.score == pytest.approx(max(tops))


@pytest.mark.parametrize(
    ("best", "place"),
    [
        ([0.1, 0.2, 0.3], "at the cut"),  # its opening alone
        ([0.1, 0.2, 0.3, 0.4], "inside the arm"),
        ([0.1, 0.2, 0.6], "at the last choice"),  # better than the chosen trial, without noise
    ],
)
def test_a_miss_is_at_the_cut_inside_the_arm_or_at_the_last_choice(
    best: list[float], place: str
) -> None:
    trials = [(0, 0.5), (0, 0.4), *((1, score) for score in best)]
    assert place_of_miss(Chosen(0, 0.5, tuple(trials)), tops=[0.5, 0.9]) == place


def strategy(skill: float, seed: int) -> Candidates:
    """Return three runs that answer 1,000 rows of two classes with this skill."""
    labels = np.arange(1000) % 2
    margins = np.random.default_rng(seed).normal(skill, 1, (3, 1000)) * np.array([-1, 1])[labels]
    logits = np.stack([-margins, margins], axis=2)
    told = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    numbers, place = np.arange(3), np.zeros((3, 3))
    return Candidates(numbers, numbers, numbers, np.ones(3, bool), place, told, labels)


def test_rows_name_a_strategy_that_is_far_better() -> None:
    score = named([strategy(0.2, 0), strategy(2, 1), strategy(0.5, 2)], num_rows=100, num_draws=20)
    assert (score.best, score.within_error, score.far, score.lost) == (1, 1, 0, 0)
    assert score.close_second == 0


def test_rows_do_not_part_strategies_that_are_equal() -> None:
    arms = [strategy(0.5, seed) for seed in range(3)]
    score = named(arms, num_rows=50, num_draws=50)
    assert score.best < 0.9
    assert score.within_error > 0.8 and score.close_second > 0.9
