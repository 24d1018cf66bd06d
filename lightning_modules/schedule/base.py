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
