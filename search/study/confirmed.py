"""What trials came to that were trained again on fresh splits, and which of them is the best.

With c_s the cost of a trial on split s of k and d_s = c_s(default) - c_s(trial), the trial with the
least mean cost is the best, but the default stays unless mean(d) > CAUTION e. The standard error e
is the larger one of two: sd(d) / sqrt(k), which has the noise of splits and of training but only
k - 1 degrees of freedom, and sqrt(sum_s e_s^2) / k, where e_s is the standard error of d_s over the
validation rows of split s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Self

from search.study.gain import CAUTION, standard_error

Costs = Mapping[int, Sequence[Sequence[float]]]
"""By trial: on each split its cost, and what decides if means are equal. Lower is better."""


@dataclass(frozen=True)
class Decision:
    """The best of the trials that were trained again.

    Attributes:
        best: The number of the trial that is the best.
        ahead: The number of the one with the least mean cost.
        gain: By how much its mean cost is below that of the default; None without a default, or if
            it is the default.
        error: The standard error of `gain`.

    """

    best: int
    ahead: int
    gain: float | None = None
    error: float | None = None


def decide(
    costs: Costs,
    default: int | None,
    row_errors: Mapping[int, float] | None = None,
    errors: float = CAUTION,
) -> Decision:
    """Return the best of trials that were trained on the same splits.

    Args:
        costs: At least one trial's, on at least two splits.
        default: The number of the default configuration's trial; None if it is not among them.
        row_errors: By trial the standard error of its mean difference to the default over rows,
            as far as it is known.
        errors: Standard errors by which a trial must be ahead of the default.

    >>> ahead = decide({0: [[0.5], [0.7], [0.6]], 4: [[0.4], [0.6], [0.4]]}, default=0)
    >>> ahead.best, round(ahead.gain, 3), round(ahead.error, 3)
    (4, 0.133, 0.033)
    >>> decide({0: [[0.5], [0.7], [0.6]], 4: [[0.4], [0.9], [0.4]]}, default=0).best
    0
    """
    ahead = min(costs, key=lambda number: means(costs[number]))
    if default is None or ahead == default:
        return Decision(ahead, ahead)
    pairs = zip(costs[default], costs[ahead], strict=True)
    gains = [of_default[0] - of_trial[0] for of_default, of_trial in pairs]
    gain, error = fmean(gains), standard_error(gains)
    error = max(error, (row_errors or {}).get(ahead, 0.0))
    return Decision(ahead if gain > errors * error else default, ahead, gain, error)


def means(costs: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over splits of a trial's cost, and of what decides if that is equal."""
    return [fmean(column) for column in zip(*costs, strict=True)]


@dataclass(frozen=True)
class Confirmed:
    """The results of the trials of a study that were trained again.

    Attributes:
        what: `split` or `seed`, which differed between the runs of a trial.
        num_trials: How many trials had ended at that time; the others were no candidates.
        runs: Metrics by trial, and by split or seed; None for a run that has no result, or broke a
            guard.
        errors: By trial, and by split or seed, the standard error over the validation rows of its
            difference to the default; without those that are unknown.

    """

    what: str
    num_trials: int
    runs: Mapping[int, Mapping[int, Mapping[str, float] | None]]
    errors: Mapping[int, Mapping[int, float]]

    def costs(
        self, numbers: Iterable[int], values: Sequence[int], signs: Mapping[str, int]
    ) -> dict[int, list[list[float]]]:
        """Return the costs of the trials that have a result on every one of those splits.

        Args:
            numbers: The trials.
            values: The splits or seeds.
            signs: The metrics that are compared; 1 if more is better, else -1.

        """
        costs = {}
        for number in numbers:
            own = self.runs.get(number, {})
            found = [own.get(value) or {} for value in values]
            if all(signs.keys() <= metrics.keys() for metrics in found):
                costs[number] = [[-sign * m[name] for name, sign in signs.items()] for m in found]
        return costs

    def row_errors(self, values: Sequence[int]) -> dict[int, float]:
        """Return by trial the standard error over rows of its mean difference to the default.

        Args:
            values: The splits or seeds; without the error of one of them, that of the mean is
                unknown.

        """
        return {
            number: math.hypot(*(own[value] for value in values)) / len(values)
            for number, own in self.errors.items()
            if own.keys() >= set(values)
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for the storage."""
        return vars(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return it from the values of `as_dict`, in which JSON has made numbers to text."""
        runs, errors = (
            {int(number): {int(v): each for v, each in own.items()} for number, own in all_.items()}
            for all_ in (values["runs"], values["errors"])
        )
        return cls(values["what"], values["num_trials"], runs, errors)
