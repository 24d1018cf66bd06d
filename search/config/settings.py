"""The search settings of a study: budget, workers, metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lightning_modules.error import Problem
from lightning_modules.schema import Schema, positive
from lightning_modules.trainer import AUTO, Select
from search.pruner.base import Pruner
from search.sampler.base import Sampler

MAX_SEEDS = 100
"""Most seeds that a study's certificates can have, those that are added later included."""

AUTO_PACK = 4
"""Trials that train together with `search.pack=auto`: with more, the gain grows little
(benchmarks/pack.py), and each waits for the slowest."""


class Arms(Enum):
    """How a study of several arms chooses each trial's arm."""

    turns = "turns"
    joint = "joint"


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Schema):
    """The plain settings under `search`.

    Attributes:
        num_trials: Total trials over all calls and workers, > 0.
        max_hours: Total training hours, > 0, those of `confirm` and `certify` included; no trial
            starts after them. None sets no limit.
        seed: Seeds the sampler, >= 0; None derives it from the study's name.
        workers: Processes that train; 0 trains in the calling process.
        workers_per_device: Workers that may share a GPU, > 0, each with an equal part of its
            memory; None gives each a GPU of its own while there are free ones.
        pack: Most trials that a worker trains together, whose passes through the frozen network are
            one, >= 1; `auto` is AUTO_PACK of them if their first steps are faster so. Only trials
            whose values depend on no result train together (`search.study.pack`); see
            `lightning_modules.fit.pack`.
        metric: Validation metric to optimize; None uses the task's metric.
        select: By what each trial's best validation and the study's best trial are chosen; see
            `lightning_modules.trainer.Select`. None uses `trainer.select`, and with several
            objectives the metric.
        objectives: Several objectives to optimize at once, the first a validation metric; see
            `search.plan.objective`. None optimizes `metric` only.
        enqueue: Configurations to try after the default, each a mapping of config paths to values.
        portfolio: Whether to try configurations known to be good next (`search.plan.portfolio`).
        arms: How a study of several arms, e.g. of `strategy=choice(lora,full)`, chooses each
            trial's arm: `turns` shares the trials out and drops the worse half again and again
            (`search.study.turn`), `joint` leaves the choice to the sampler.
        confirm: Fresh splits, or seeds, on which the first few trials and the default are trained
            again before one is called the best, 0 or >= 2; 0 is off; see `search.study.confirm`.
        certify: Whether the winner and the default are trained over fresh seeds at the end and
            scored on the test rows once; see `search.study.certify`.
        certify_seeds: How many seeds, from 2 to 100.
        warm_start: Another study whose results the sampler learns from, with the same strategy and
            objectives and a space that holds its trials; see `search.study.warm`. None: no study.
        max_attempts: Failed attempts without progress beyond earlier ones, after which the trial
            fails, > 0.
        hang_seconds: Time without progress after which a worker is killed, > 0.
        lease_seconds: Time without a heartbeat after which a worker that is stopped, or on another
            machine, loses its trials to the other workers, > 0.
        ask_tell: Whether a loop of the caller's own trains: it asks for trials and tells their
            results. Nothing is trained here.
        direction: `maximize` or `minimize`, for a free study, whose names and metric are the
            caller's own; None searches the configuration of a run by a metric of its task.
        ask_hours: Time after which a trial that was asked for returns to the queue, unless it is
            reported or told, in hours, > 0.
        guards: Metrics on other data that the best trial must keep, each a name or a mapping, see
            `search.config.guard`.
        keep: Number of best trials whose weights stay on disk, > 0.
        plugins: Additional packages whose classes a `_target_` may name.

    """

    num_trials: int
    max_hours: float | None
    seed: int | None
    workers: int
    workers_per_device: int | None
    pack: int | str
    metric: str | None
    select: Select | None
    objectives: list[str] | None
    enqueue: list[Any]
    portfolio: bool
    arms: Arms
    confirm: int
    certify: bool
    certify_seeds: int
    warm_start: str | None
    max_attempts: int
    hang_seconds: float
    lease_seconds: float
    ask_tell: bool
    direction: str | None
    ask_hours: float
    guards: list[Any]
    keep: int
    plugins: list[str]

    @property
    def pack_size(self) -> int:
        """The most trials that a worker trains together."""
        return AUTO_PACK if isinstance(self.pack, str) else self.pack

    def problems(self) -> Iterator[Problem]:
        yield from positive(
            self,
            "num_trials",
            "max_hours",
            "workers_per_device",
            "max_attempts",
            "hang_seconds",
            "lease_seconds",
            "ask_hours",
            "keep",
        )
        if self.direction not in (None, "maximize", "minimize"):
            yield Problem("direction", "must be maximize or minimize", self.direction)
        if self.seed is not None and self.seed < 0:
            yield Problem("seed", "must be >= 0 or null", self.seed)
        yield from self._problems_of_workers()
        if self.confirm < 0 or self.confirm == 1:
            fix = "One split tells nothing of the noise between splits: set search.confirm=3."
            yield Problem("confirm", "must be 0 or >= 2", self.confirm, fix)
        if not 2 <= self.certify_seeds <= MAX_SEEDS:
            fix = "One seed tells nothing of the noise between seeds: set search.certify_seeds=3."
            rule = f"must be from 2 to {MAX_SEEDS}"
            yield Problem("certify_seeds", rule, self.certify_seeds, fix)
        if self.objectives == []:
            fix = "Write search.objectives=[validation/accuracy,seconds], or null."
            yield Problem("objectives", "must name at least one", self.objectives, fix)
        if self.objectives and self.metric is not None:
            rule, fix = (
                "must be null if search.objectives is set",
                "The first objective takes its place.",
            )
            yield Problem("metric", rule, self.metric, fix)
        if self.objectives and self.ask_tell:
            rule = "must be null if search.ask_tell is true, because a trial is told one value"
            yield Problem("objectives", rule, self.objectives, "Set search.metric.")
        if self.objectives and len(self.objectives) > 1 and self.select is not None:
            rule = "must be null with several search.objectives"
            fix = "They rank the trials, and the first one chooses each trial's epoch."
            yield Problem("select", rule, self.select.value, fix)
        if self.guards and self.ask_tell:
            rule = "must be empty if search.ask_tell is true, because a loop of yours trains"
            fix = "Measure them there, and tell a trial that breaks one as infeasible."
            yield Problem("guards", rule, self.guards, fix)
        for number, values in enumerate(self.enqueue):
            if not isinstance(values, dict):
                fix = "Write search.enqueue=[{optimizer.lr: 7e-4}]."
                yield Problem(f"enqueue.{number}", "must map config paths to values", values, fix)

    def _problems_of_workers(self) -> Iterator[Problem]:
        if self.workers < 0:
            yield Problem("workers", "must be >= 0", self.workers)
        if self.pack != AUTO and (isinstance(self.pack, str) or self.pack < 1):
            yield Problem("pack", "must be auto or a number >= 1", self.pack)


@dataclass(frozen=True)
class Search:
    """Everything under `search` except the space, typed."""

    settings: SearchSettings
    sampler: Sampler
    pruner: Pruner
