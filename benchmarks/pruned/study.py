"""The replay of a study: recorded runs are its trials, several workers train them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from pruned.curve import BRIER, Curve
from pruned.rule import Rule

from search.pruner.progress import LOSS, METRIC

CHOICES: Mapping[str, Callable[[Curve], tuple[float, float]]] = {
    "accuracy": lambda curve: max((mark.values[METRIC], mark.values[LOSS]) for mark in curve.marks),
    "Brier score": lambda curve: max(
        (mark.values[BRIER], mark.values[METRIC]) for mark in curve.marks
    ),
}
"""How finished trials are ranked, by the best validation of each; larger is better."""


@dataclass(frozen=True)
class Result:
    """What a rule did to a study.

    Attributes:
        lost_best: Whether the trial that would have been chosen without pruning was pruned.
        lost_points: How much worse on held-out rows the chosen trial is than that one, in points.
        budget: Examples trained, as a share of those of all whole trials.

    """

    lost_best: bool
    lost_points: float
    budget: float


def replay(curves: Sequence[Curve], rule: Rule, num_workers: int, choice: str) -> Result:
    """Train the curves as trials 0, 1, ...; a worker takes the next one when it is free."""
    judge, seen = rule.judge(curves), [0] * len(curves)
    finished: list[int] = []
    waiting = iter(range(len(curves)))
    due: list[tuple[int, int]] = []  # examples that the worker has trained, and its trial

    def take(now: int) -> None:
        if (number := next(waiting, None)) is not None:
            judge.begin(number)
            heappush(due, (now + curves[number].marks[0].examples, number))

    for _ in range(num_workers):
        take(0)
    while due:
        now, number = heappop(due)
        marks = curves[number].marks
        seen[number] += 1
        stops = judge.stops(number, seen, len(finished))
        if seen[number] == len(marks):
            finished.append(number)
        elif not stops:
            step = marks[seen[number]].examples - marks[seen[number] - 1].examples
            heappush(due, (now + step, number))
            continue
        judge.end(number, is_pruned=seen[number] < len(marks))
        take(now)
    return _result(curves, finished, seen, choice)


def _result(
    curves: Sequence[Curve], finished: Sequence[int], seen: Sequence[int], choice: str
) -> Result:
    def rank(number: int) -> tuple[tuple[float, float], int]:
        return CHOICES[choice](curves[number]), -number

    best, chosen = max(range(len(curves)), key=rank), max(finished, key=rank)
    trained = sum(curve.marks[num - 1].examples for curve, num in zip(curves, seen, strict=True))
    whole = sum(curve.num_examples for curve in curves)
    lost = 100 * (curves[best].truth - curves[chosen].truth)
    return Result(best not in finished, lost, trained / whole)
