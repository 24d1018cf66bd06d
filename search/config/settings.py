"""How a study searches: budget, workers, metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive
from search.pruner.base import Pruner
from search.sampler.base import Sampler


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Schema):
    """The plain settings under `search`.

    Attributes:
        num_trials: Trials in all, over every call and worker, > 0.
        max_hours: Training hours in all, > 0; no trial begins after them. None sets no limit.
        workers: Processes that train; 0 trains in the calling process.
        metric: Validation metric to search for; None takes the task's own.
        objectives: Several things to search for at once, the first one a validation metric; see
            `search.plan.objective`. None takes `metric` alone.
        enqueue: Configurations, as config paths with values, to try after the default.
        max_attempts: Attempts at a trial that end by a fault and get no further than those before,
            after which the trial has failed, > 0.
        hang_seconds: Time without progress after which a worker is killed, > 0.
        lease_seconds: Time without a sign of life after which a worker of another machine, or one
            that was stopped, has lost its trials to the others, > 0.
        keep: Trials, the best ones, whose weights stay on disk, > 0.
        plugins: Packages besides ours whose classes a `_target_` may name.

    """

    num_trials: int
    max_hours: float | None
    workers: int
    metric: str | None
    objectives: list[str] | None
    enqueue: list[Any]
    max_attempts: int
    hang_seconds: float
    lease_seconds: float
    keep: int
    plugins: list[str]

    def problems(self) -> Iterator[Problem]:
        yield from positive(
            self,
            "num_trials",
            "max_hours",
            "max_attempts",
            "hang_seconds",
            "lease_seconds",
            "keep",
        )
        if self.workers < 0:
            yield Problem("workers", "must be >= 0", self.workers)
        if self.objectives == []:
            fix = "Write search.objectives=[validation/accuracy,seconds], or null."
            yield Problem("objectives", "must name at least one", self.objectives, fix)
        if self.objectives and self.metric is not None:
            rule, fix = (
                "must be null if search.objectives is set",
                "The first objective takes its place.",
            )
            yield Problem("metric", rule, self.metric, fix)
        for number, values in enumerate(self.enqueue):
            if not isinstance(values, dict):
                fix = "Write search.enqueue=[{optimizer.lr: 3e-4}]."
                yield Problem(f"enqueue.{number}", "must map config paths to values", values, fix)


@dataclass(frozen=True)
class Search:
    """Everything under `search` but the space, typed."""

    settings: SearchSettings
    sampler: Sampler
    pruner: Pruner
