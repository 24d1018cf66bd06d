"""When to stop a trial early, comparing only comparable values.

Values are comparable after the same number of examples while the schedule is stable, i.e. while a
longer run would have been the same so far; once a trial decays its learning rate, it is compared
only with trials of the same length.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive


@dataclass(frozen=True)
class Progress:
    """The progress of one trial, for a pruner; larger values are better.

    Attributes:
        values: Objective by number of examples seen.
        stable_examples: Examples until a longer run would differ.
        num_examples: Examples in the whole run.

    """

    values: Mapping[int, float]
    stable_examples: int
    num_examples: int

    def comparable(self, other: Progress, examples: int) -> bool:
        """Return whether both trials' values after `examples` are comparable."""
        both_stable = examples <= min(self.stable_examples, other.stable_examples)
        return both_stable or self.num_examples == other.num_examples


@dataclass(frozen=True, kw_only=True)
class Pruner(Schema):
    """The base class of pruners; this one never prunes."""

    def reason_to_stop(
        self, trial: Progress, number: int, others: Iterable[Progress], num_finished: int
    ) -> str | None:
        """Return why the trial should end now, or None.

        Args:
            trial: The trial; its last value is new.
            number: The number of that validation, from 1.
            others: All other trials that have values.
            num_finished: Finished trials.

        """
        return None


@dataclass(frozen=True, kw_only=True)
class ComparingPruner(Pruner):
    """A pruner that compares a trial's last value with other trials' after the same examples.

    Attributes:
        min_finished: Trials that must finish before any is pruned, > 0.

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
            return None  # already complete
        rivals = [
            other.values[examples]
            for other in others
            if examples in other.values and trial.comparable(other, examples)
        ]
        return self.verdict(trial.values[examples], rivals, number)

    @abstractmethod
    def verdict(self, value: float, rivals: Sequence[float], number: int) -> str | None:
        """Return why a trial with `value` after validation `number` should end, or None."""
