"""When to give a trial up early, comparing only what can be compared.

A value is comparable at equal examples seen while the schedule is stable, that is, while a
longer run would have been the same up to there; once a trial decays its learning rate it is
compared with trials of its own length alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive


@dataclass(frozen=True)
class Progress:
    """What a pruner sees of one trial; larger values are better.

    Attributes:
        values: Value by examples seen.
        stable_examples: Up to here a longer run would have been the same.
        num_examples: Examples of the whole run.

    """

    values: Mapping[int, float]
    stable_examples: int
    num_examples: int

    def comparable(self, other: Progress, examples: int) -> bool:
        """Say whether both trials' values at `examples` were made in the same way."""
        both_stable = examples <= min(self.stable_examples, other.stable_examples)
        return both_stable or self.num_examples == other.num_examples


@dataclass(frozen=True, kw_only=True)
class Pruner(Schema):
    """A pruner; this one lets every trial run to its end."""

    def reason_to_stop(
        self, trial: Progress, number: int, others: Iterable[Progress], num_finished: int
    ) -> str | None:
        """Return why the trial should end now, or None.

        Args:
            trial: The trial; its last value has just come.
            number: Which validation that was, from 1 on.
            others: All other trials that have values.
            num_finished: Trials that ran to their end.

        """
        return None


@dataclass(frozen=True, kw_only=True)
class ComparingPruner(Pruner):
    """A pruner that compares a trial's last value with its rivals' at the same examples seen.

    Attributes:
        min_finished: Trials that must have run to their end before any is pruned, > 0.

    """

    min_finished: int

    def problems(self) -> Iterator[Problem]:
        yield from positive(self, "min_finished")

    def reason_to_stop(
        self, trial: Progress, number: int, others: Iterable[Progress], num_finished: int
    ) -> str | None:
        if num_finished < self.min_finished:
            return None
        examples = max(trial.values)
        if examples >= trial.num_examples:
            return None  # it has been paid for
        rivals = [
            other.values[examples]
            for other in others
            if examples in other.values and trial.comparable(other, examples)
        ]
        return self.verdict(trial.values[examples], rivals, number)

    @abstractmethod
    def verdict(self, value: float, rivals: Sequence[float], number: int) -> str | None:
        """Return why a trial with `value` at its validation `number` should end, or None."""
