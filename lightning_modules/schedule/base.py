"""The base class of schedules: the factor of the peak learning rate at each step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from lightning_modules.schema import Schema


@dataclass(frozen=True)
class Length:
    """The length of a run: its optimizer steps in total and per epoch."""

    num_steps: int
    steps_per_epoch: int

    @property
    def first_epoch_steps(self) -> int:
        """Number of steps that the run takes in its first epoch; fewer if it ends before."""
        return min(self.steps_per_epoch, self.num_steps)

    @property
    def ends_within_first_epoch(self) -> bool:
        """Whether the run ends before its first epoch does, e.g. because of `trainer.max_steps`."""
        return self.num_steps < self.steps_per_epoch

    def validation_steps(self, per_epoch: int) -> dict[int, float]:
        """Map each validation's optimizer step to the epochs done, evenly spaced in each epoch.

        If an epoch has fewer steps than validations, those at the same step become one. The last
        step always has a validation; a run without steps has its only one at 0.

        >>> Length(num_steps=10, steps_per_epoch=5).validation_steps(per_epoch=2)
        {2: 0.5, 5: 1.0, 8: 1.5, 10: 2.0}
        """
        if not self.num_steps:
            return {0: 0.0}
        epochs = self.num_steps / self.steps_per_epoch
        steps = {
            max(1, round(number * self.steps_per_epoch / per_epoch)): number / per_epoch
            for number in range(1, int(epochs * per_epoch) + 1)
        }
        steps[self.num_steps] = epochs
        return steps


@dataclass(frozen=True, kw_only=True)
class Schedule(Schema):
    """A schedule."""

    @abstractmethod
    def factor(self, step: int, length: Length) -> float:
        """Return the factor, in [0, 1], at 0-based step `step` of `length.num_steps`."""

    @abstractmethod
    def stable_steps(self, length: Length) -> int:
        """Return how many of the first steps are equal in a longer run with the same settings.

        Within them, runs of different lengths are comparable at the same number of examples.
        """


def warmup(step: int, warmup_steps: float) -> float:
    """Return the linear rise from 1 / warmup_steps to 1.

    >>> [warmup(step, 4) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps >= 1 else 1.0


def decay(step: int, start: int, end: int) -> float:
    """Return the linear fall from 1 at `start` towards 0 at `end`; the last step is above 0.

    >>> [decay(step, 2, 4) for step in range(4)]
    [1.0, 1.0, 1.0, 0.5]
    """
    return 1.0 if step < start else (end - step) / (end - start)
