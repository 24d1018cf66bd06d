"""A study at one moment, as values: what the live table, `status` and the dashboards show."""

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
        values: What it varies, by config path; only what its arm has.
        objectives: Its value of each objective; None while it has none.
        curve: The first objective's metric at each validation so far.
        fraction: The share of its training that is done, in [0, 1].
        seconds: Training time so far, over all attempts; None before the first validation.
        seconds_left: Expected training time that remains; None where nothing is known or it ended.
        attempts: Attempts begun; 0 for a trial that has never run.
        is_best: The winner; with several objectives, on the Pareto front.
        reason: How it ended, in words; None while it has not.

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
        objectives: Their names, as `validation/accuracy` or `seconds`; the first one leads.
        directions: `maximize` or `minimize`, one an objective.
        paths: Every config path that varies, in the order they are shown.
        num_trials: The total budget.
        num_ended: Trials of the budget that will not run again.
        counts: Number of trials by state; every state is there.
        trials_per_hour: Ended trials an hour of wall time; None before the first one has ended.
        seconds_left: Expected wall time until the budget is used up; None where it is unknown.
        max_hours: The budget in hours of training, or None.
        is_stopping: No trial begins any more, because `finesweep stop` was asked for.
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
    """One study among others, in a line.

    Attributes:
        study: The study's name.
        state: `running`, `stopped` or `done`, as the one who looked found it.
        num_trials: The total budget.
        num_ended: Trials of the budget that will not run again.
        best: The best value of the first objective; None before a trial has finished.
        objectives: Their names, as `validation/accuracy` or `seconds`; the first one leads.
        age_seconds: Time since the study last changed, >= 0.

    """

    study: str
    state: str
    num_trials: int
    num_ended: int
    best: float | None
    objectives: tuple[str, ...]
    age_seconds: float
