"""What every schedule gives: the factor of the peak learning rate at each step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from lightning_modules.schema import Schema


@dataclass(frozen=True)
class Length:
    """How long a run is: its optimizer steps in all, and in one epoch."""

    num_steps: int
    steps_per_epoch: int

    @property
    def first_epoch_steps(self) -> int:
        """The steps of the first epoch that the run takes: all, or those up to its own end."""
        return min(self.steps_per_epoch, self.num_steps)

    @property
    def ends_within_first_epoch(self) -> bool:
        """Whether the run ends before its first epoch does, as `trainer.max_steps` can have it."""
        return self.num_steps < self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Schedule(Schema):
    """A schedule."""

    @abstractmethod
    def factor(self, step: int, length: Length) -> float:
        """Return the factor, in [0, 1], for the 0-based `step` of `length.num_steps`."""

    @abstractmethod
    def stable_steps(self, length: Length) -> int:
        """Return how many first steps are the same for a longer run with the same settings.

        Up to there runs of different lengths can be compared at equal examples seen.
        """


def warmup(step: int, warmup_steps: float) -> float:
    """Return the linear rise from 1 / warmup_steps to 1.

    >>> [warmup(step, 4) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps >= 1 else 1.0


def decay(step: int, start: int, end: int) -> float:
    """Return the linear fall from 1 at `start` towards 0 at `end`, never quite reached.

    >>> [decay(step, 2, 4) for step in range(4)]
    [1.0, 1.0, 1.0, 0.5]
    """
    return 1.0 if step < start else (end - step) / (end - start)
