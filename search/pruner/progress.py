"""How far a trial is: its validations so far, readable at any position between them.

A position is a number of optimizer steps, of examples or of epochs, or a fraction of the run.
Trials of unlike batch sizes are validated after unlike numbers of steps, so a value between two
validations is interpolated linearly.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

LENGTH_TOLERANCE = 0.05
"""Runs whose lengths differ by less than this share decay together: steps round to whole epochs."""

SAME = 0.02
"""Positions that differ by less than this share are the same: steps are whole numbers."""

LOSS = "validation_loss"
"""The name of the validation loss among the values of a validation."""
METRIC = "metric"
"""The name of the study's objective among the values of a validation."""


@dataclass(frozen=True)
class Mark:
    """One validation of a trial.

    Attributes:
        step: Optimizer steps done; None if the trial was begun before they were stored.
        examples: Training examples seen.
        epoch: Epochs done; None as for `step`.
        values: What was measured, by name: `validation_loss`, `metric` and the task's metrics.
            Larger is always better: what is to be minimized is negated.

    """

    step: int | None
    examples: int
    epoch: float | None
    values: Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """The progress of one trial.

    Attributes:
        number: The trial's number; the default is 0.
        curve: Its validations, in order.
        num_examples: Examples in the whole run; None if unknown.
        stable_examples: Examples until a longer run would differ; None if unknown.
        can_win: Whether its validations can make it the best: not if it was pruned or diverged.

    """

    number: int
    curve: Sequence[Mark]
    num_examples: int | None
    stable_examples: int | None
    can_win: bool = True

    def until(self, examples: int) -> Progress:
        """Return the progress at an earlier validation: a later attempt may repeat some."""
        curve = tuple(mark for mark in self.curve if mark.examples <= examples)
        return replace(self, curve=curve)

    @property
    def fraction(self) -> float | None:
        """Which share of the run is done; None if unknown."""
        if self.num_examples is None:
            return None
        return self.curve[-1].examples / self.num_examples if self.num_examples else 1.0

    def best_at(self, name: str, examples: float) -> float | None:
        """Return the best value until that many examples, interpolated; None outside the curve."""
        found = _read(self, name, Axis.examples, examples)
        return None if found is None else found[1]

    def best(self, name: str) -> list[float]:
        """Return the best value so far at each validation; NaN counts as the worst."""
        values = (mark.values.get(name, -math.inf) for mark in self.curve)
        known = (-math.inf if math.isnan(value) else value for value in values)
        return list(accumulate(known, max))


class Axis(Enum):
    """After how much of what two trials are compared."""

    steps = "steps"
    examples = "examples"
    epochs = "epochs"
    fraction = "fraction"

    def position(self, trial: Progress, mark: Mark | None = None) -> float | None:
        """Return where a validation, by default the last, lies; None if unknown."""
        mark = mark or trial.curve[-1]
        if self is Axis.steps:
            return mark.step
        if self is Axis.epochs:
            return mark.epoch
        if self is Axis.examples:
            return mark.examples
        return mark.examples / trial.num_examples if trial.num_examples else None

    def words(self, trial: Progress) -> str:
        """Return where the last validation lies in words, e.g. `after step 60`."""
        position = self.position(trial)
        if self is Axis.fraction:
            return f"after {position:.0%} of the run"
        if self is Axis.epochs:
            return f"after epoch {position:g}"
        # A loop of the user's own counts steps alone, and stores them as examples too.
        is_step = self is Axis.steps or position == trial.curve[-1].step
        return f"after step {position}" if is_step else f"after {position} examples"

    def end(self, trial: Progress) -> float | None:
        """Return where the run ends; None if unknown."""
        last = trial.curve[-1]
        position = self.position(trial)
        if position is None or trial.num_examples is None or not last.examples:
            return None
        return position * trial.num_examples / last.examples


def rival_values(trial: Progress, others: Iterable[Progress], name: str, axis: Axis) -> list[float]:
    """Return the best values until where `trial` is now, of the others comparable there."""
    found = (rival_value(trial, other, name, axis) for other in others)
    return [value for value in found if value is not None]


def rival_value(trial: Progress, other: Progress, name: str, axis: Axis) -> float | None:
    """Return the best value of `other` until where `trial` is now; None if not comparable there.

    Two trials are comparable while both are in the stable part of their schedule, where a longer
    run would have been the same so far, or if they end at the same position. Any two end at the
    same fraction of their run.
    """
    now = trial.curve[-1]
    position = axis.position(trial)
    found = None if position is None else _read(other, name, axis, position)
    if found is None:
        return None
    examples, value = found
    both_stable = _is_stable(trial, now.examples) and _is_stable(other, examples)
    return value if both_stable or _end_together(trial, other, axis) else None


def _is_stable(trial: Progress, examples: float) -> bool:
    return trial.stable_examples is None or examples <= trial.stable_examples


def _end_together(one: Progress, other: Progress, axis: Axis) -> bool:
    if axis is Axis.fraction:
        return True
    ends = axis.end(one), axis.end(other)
    if ends[0] is None or ends[1] is None:
        return False
    return abs(ends[0] - ends[1]) <= LENGTH_TOLERANCE * max(ends[0], ends[1])


def _read(trial: Progress, name: str, axis: Axis, position: float) -> tuple[float, float] | None:
    """Return the examples seen at `position` and the value there; None outside the curve."""
    curve = trial.curve

    def place(mark: Mark) -> float:
        found = axis.position(trial, mark)
        return -1.0 if found is None else found  # only the first ones can lack it

    after = bisect_left(curve, position, key=place)
    places = [each for each in (after - 1, after) if 0 <= each < len(curve)]
    if any(name not in curve[each].values for each in places):
        return None
    best = trial.best(name)
    for each in places:  # a batch more or less is the same position
        if abs(place(curve[each]) - position) <= SAME * position:
            return curve[each].examples, best[each]
    if after in (0, len(curve)) or place(curve[after - 1]) < 0:
        return None
    early, late = curve[after - 1], curve[after]
    share = (position - place(early)) / (place(late) - place(early))
    examples = early.examples + share * (late.examples - early.examples)
    return examples, _between(best[after - 1], best[after], share)


def _between(early: float, late: float, share: float) -> float:
    return late if math.isinf(early) else early + share * (late - early)
