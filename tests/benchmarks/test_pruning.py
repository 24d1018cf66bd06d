"""The replay of pruning on curves whose outcome is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from pruned.curve import BRIER, Curve
from pruned.rule import BeforeJudge, Rule, ours, stock
from pruned.study import replay

from search.pruner.none import NoPruner
from search.pruner.progress import LOSS, METRIC, Mark


def whole(*accuracies: float, truth: float = 0.5, batch_size: int = 10) -> Curve:
    """Return a run of 100 rows that is validated after each epoch and never decays."""
    marks = tuple(
        Mark(
            100 * epoch // batch_size,
            100 * epoch,
            epoch,
            {METRIC: each, LOSS: each - 1, BRIER: each - 1},
        )
        for epoch, each in enumerate(accuracies, 1)
    )
    return Curve(marks, 100 * len(marks), 100 * len(marks), truth)


class Cutter:
    """Ends the given trials after their first validation; records what it is told."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.heard: list[Any] = []

    def begin(self, number: int) -> None:
        self.heard.append(("begin", number))

    def stops(self, number: int, seen: Sequence[int], num_finished: int) -> bool:
        self.heard.append((number, tuple(seen), num_finished))
        return number in self.numbers

    def end(self, number: int, *, is_pruned: bool) -> None:
        self.heard.append(("pruned" if is_pruned else "finished", number))


def test_without_pruning_nothing_is_lost_and_all_is_trained() -> None:
    curves = [whole(0.5, 0.6), whole(0.7), whole(0.4, 0.5, 0.6)]
    for num_workers in (1, 2, 4):
        result = replay(curves, ours("none", NoPruner()), num_workers, "accuracy")
        assert (result.lost_best, result.lost_points, result.budget) == (False, 0.0, 1.0)


def test_a_lost_best_costs_its_lead_on_held_out_rows() -> None:
    curves = [whole(0.5, 0.5, truth=0.70), whole(0.1, 0.1, 0.1, 0.9, truth=0.74)]
    result = replay(curves, Rule("cut", lambda _: Cutter(1)), 1, "accuracy")
    assert result.lost_best
    assert result.lost_points == pytest.approx(4.0)
    assert result.budget == (2 + 1) / (2 + 4)


def test_two_workers_train_two_trials_at_once() -> None:
    cutter = Cutter(1)
    curves = [whole(0.5, 0.5, 0.5), whole(0.5, 0.5), whole(0.5)]
    replay(curves, Rule("cut", lambda _: cutter), 2, "accuracy")
    assert cutter.heard == [
        ("begin", 0),
        ("begin", 1),
        (0, (1, 0, 0), 0),
        (1, (1, 1, 0), 0),
        ("pruned", 1),
        ("begin", 2),
        (0, (2, 1, 0), 0),
        (2, (2, 1, 1), 0),
        ("finished", 2),
        (0, (3, 1, 1), 1),
        ("finished", 0),
    ]


def test_the_best_by_the_brier_score_may_be_another() -> None:
    curves = [whole(0.5, truth=0.6), whole(0.4, 0.4, truth=0.9)]
    low = Curve(
        tuple(
            Mark(m.step, m.examples, m.epoch, {**m.values, BRIER: -0.1}) for m in curves[1].marks
        ),
        200,
        200,
        0.9,
    )
    cut = Rule("cut", lambda _: Cutter(1))
    assert not replay([curves[0], low], cut, 1, "accuracy").lost_best
    assert replay([curves[0], low], cut, 1, "Brier score").lost_best


@pytest.mark.parametrize("name", ["before", "optuna"])
def test_rules_of_others_end_a_trial_that_is_far_behind(name: str) -> None:
    rules = {
        "before": Rule("before", BeforeJudge),
        "optuna": stock("median", lambda: optuna.pruners.MedianPruner(n_startup_trials=4)),
    }
    curves = [*(whole(0.6, 0.7, 0.8, 0.9) for _ in range(4)), whole(0.1, 0.1, 0.1, 0.1)]
    result = replay(curves, rules[name], 1, "accuracy")
    assert result.budget == (4 * 4 + 1) / (5 * 4)
