"""Forecast: end a trial that would not become the best even at its pace of improvement.

Let v(t) be a trial's best value until t training examples, t now, and T those of its whole run.
Curves flatten, so a straight line from v(t/2) through v(t) to T is an optimistic forecast:

    v(T) <= v(t) + (T - t) * (v(t) - v(t/2)) / (t/2)

The trial ends if that is below the best value that another trial has reached, and if it is also
behind that trial after the same share of the run: a learning rate that decays at the end lets all
trials improve faster there than any line says.

So a trial is compared with what the study has, and one that begins slowly and improves steadily
continues. It follows the predictive termination of Domhan et al. 2015 (IJCAI), which ends a run
whose extrapolated curve is unlikely to beat the best; a line needs no model of curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.pruner.base import ComparingPruner
from search.pruner.guessing import has_left_guessing
from search.pruner.progress import Axis, Progress, rival_value, rival_values

BACK = 0.5
"""The pace is that since this share of what the trial has done."""


@dataclass(frozen=True, kw_only=True)
class Forecast(ComparingPruner):
    """Ends trials that are too far behind the best one."""

    def reason(
        self, trial: Progress, others: Sequence[Progress], names: Sequence[str]
    ) -> str | None:
        end = _end(trial, others)
        if end is None or trial.curve[-1].examples < self.min_fraction * end:
            return None
        axis = Axis.fraction if trial.num_examples else Axis.examples
        winners = [other for other in others if other.can_win]
        if not winners:
            return None
        for name in names:
            best = max(winners, key=lambda other: other.best(name)[-1])
            if not _is_behind(trial, best, name, end, axis):
                return None
            here = (trial.best(name)[-1], *rival_values(trial, others, name, axis))
            if not has_left_guessing(here, others, name):
                return None
        what = " and ".join(name.replace("_", " ") for name in names)
        return f"at its pace it would not reach the best trial by {what} {axis.words(trial)}"


def _is_behind(trial: Progress, best: Progress, name: str, end: int, axis: Axis) -> bool:
    """Return whether a trial is behind the best one now, and by its forecast at its end."""
    reached, so_far = forecast(trial, name, end), rival_value(trial, best, name, axis)
    if reached is None or reached >= best.best(name)[-1]:
        return False
    return so_far is None or trial.best(name)[-1] < so_far


def forecast(trial: Progress, name: str, end: int) -> float | None:
    """Return the value that a trial reaches at `end` examples at its pace of improvement.

    None after a single validation, from which no pace can be told. Larger is better.
    """
    now, first = trial.curve[-1].examples, trial.curve[0].examples
    value, since = trial.best(name)[-1], max(BACK * now, first)
    if since >= now:
        return None
    before = trial.best_at(name, since)
    if before is None or not math.isfinite(value):
        return value
    return value + (end - now) * (value - before) / (now - since)


def _end(trial: Progress, others: Sequence[Progress]) -> int | None:
    """Return the examples of the whole run, or if it is unknown, those of the longest other one.

    None if the trial has done as many.
    """
    known = trial.num_examples
    longest = max((other.curve[-1].examples for other in others if other.can_win), default=0)
    end = longest if known is None else known
    return end if trial.curve[-1].examples < end else None
