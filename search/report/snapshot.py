"""A study's state at one moment: what the live table, `status` and the dashboards show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: The trial's number.
        state: `complete`, `pruned`, `fail`, `running` or `waiting`.
        values: Its settings by config path; only those of its arm.
        objectives: Its value for each objective; None while it has none.
        curve: The first objective's metric at each validation so far.
        fraction: The share of its training that is done, in [0, 1].
        seconds: Training time so far, over all attempts; None before the first validation.
        seconds_left: Expected remaining training time; None if unknown or if it has ended.
        attempts: Attempts started; 0 for a trial that has never run.
        is_best: Whether it is the winner or, with several objectives, on the Pareto front.
        reason: How it ended, in words; None until it has.

    """

    number: int
    state: str
    values: Mapping[str, Any]
    objectives: tuple[float | None, ...]
    curve: tuple[float, ...]
    fraction: float
    seconds: float | None
    seconds_left: float | None
    attempts: int
    is_best: bool
    reason: str | None


@dataclass(frozen=True)
class Snapshot:
    """One study.

    Attributes:
        study: The study's name.
        objectives: Their names, e.g. `validation/accuracy` or `seconds`; the first ranks trials.
        directions: `maximize` or `minimize`, one per objective.
        paths: Every config path that varies, in display order.
        num_trials: The total budget.
        num_ended: Trials of the budget that will not run again.
        counts: Number of trials by state, for every state.
        trials_per_hour: Ended trials per hour of wall time; None before the first one has ended.
        seconds_left: Expected wall time until the budget is used up; None if unknown.
        max_hours: The budget in hours of training, or None.
        is_stopping: Whether no more trials start, because of `finesweep stop`.
        rows: The trials, by number.

    """

    study: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    paths: tuple[str, ...]
    num_trials: int
    num_ended: int
    counts: Mapping[str, int]
    trials_per_hour: float | None
    seconds_left: float | None
    max_hours: float | None
    is_stopping: bool
    rows: tuple[TrialRow, ...]


@dataclass(frozen=True)
class StudySummary:
    """One study in a list of studies.

    Attributes:
        study: The study's name.
        state: `running`, `confirming`, `certifying`, `stopped` or `done`.
        num_trials: The total budget.
        num_ended: Trials of the budget that will not run again.
        best: The best value of the first objective; None before a trial has finished.
        objectives: Their names, e.g. `validation/accuracy` or `seconds`; the first ranks trials.
        age_seconds: Time since the study last changed, >= 0.

    """

    study: str
    state: str
    num_trials: int
    num_ended: int
    best: float | None
    objectives: tuple[str, ...]
    age_seconds: float
