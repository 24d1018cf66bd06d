"""Rows that a guard scores with a task: the run's own, or that of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.rows.corpus import fingerprint_of
from lightning_modules.schema import member_of
from lightning_modules.task.generation import Generation
from lightning_modules.task.metric.answer import ANSWER_METRICS

if TYPE_CHECKING:
    from lightning_modules.guard.base import Bound, Subject
    from lightning_modules.rows.corpus import Row
    from lightning_modules.run import Run
    from lightning_modules.task.base import Task

LOSS = "loss"
LOSSES = ("nats_per_token", "log_loss")
"""The metrics that `loss` may stand for, of which a task has at most one."""


@dataclass(frozen=True)
class LoadedRows:
    """Rows to score.

    Attributes:
        task: The task that scores them.
        rows: The rows.
        is_own: Whether it is the run's own task, for which the strategy may change rows.

    """

    task: Task
    rows: Sequence[Row]
    is_own: bool

    @property
    def size(self) -> str:
        return f"{len(self.rows):,} row{'' if len(self.rows) == 1 else 's'}"

    @property
    def num_scored(self) -> int:
        return len(self.rows)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.rows)

    def score(self, subject: Subject) -> float:
        from lightning_modules.export.predictor import Predictor

        run = subject.run
        predictor = Predictor(
            subject.network,
            subject.tokenizer,
            self.task,
            tuple(subject.labels),
            run.data.max_length,
            subject.hardware.precision,
            run.strategy if self.is_own else None,
            device=subject.hardware.device,
            heartbeat=subject.heartbeat,
        )
        return predictor.score(self.rows)[self.task.metric]


def check_metric(task: type[Task] | Task, metric: str, bound: Bound) -> None:
    """Raise ConfigError if the task lacks the metric, or the bound is on its better side."""
    known = [*_directions(task), *([LOSS] if loss_of(task) else [])]
    if metric not in known:
        fix = did_you_mean(metric, known)
        raise ConfigError(Problem("metric", f"must be one of {', '.join(known)}", metric, fix))
    name = loss_of(task) if metric == LOSS else metric
    assert name is not None
    is_minimized = _directions(task)[name] == "minimize"
    if bound.is_most != is_minimized:
        better, key = ("lower", "at_most") if is_minimized else ("higher", "at_least")
        rule = f"{metric} is better if it is {better}, so its bound must be {key}"
        wrong = "at_least" if is_minimized else "at_most"
        raise ConfigError(Problem(wrong, rule, str(bound), f"Write {key} in place of {wrong}."))


def _directions(task: type[Task] | Task) -> Mapping[str, str]:
    return task.directions if isinstance(task, type) else task.goals


def loss_of(task: type[Task] | Task) -> str | None:
    """Return the metric that is the task's loss; None if none is."""
    return next((name for name in LOSSES if name in task.directions), None)


def own_task(run: Run, metric: str, bound: Bound) -> Task:
    """Return the run's task with the guard's metric; raise ConfigError if it has no such."""
    task = run.task
    if task.needs_reference:
        rule = f"task={member_of(task)} compares with the untouched model, so it is no guard"
        fix = "Guard plain text, e.g. forgetting."
        raise ConfigError(Problem("data", rule, Verbatim("rows for it"), fix))
    check_metric(task, metric, bound)
    name = loss_of(task) if metric == LOSS else metric
    assert name is not None
    if isinstance(task, Generation):
        if metric not in ANSWER_METRICS:
            return replace(task, metric=name, num_generated=0)
        if not task.num_generated:
            rule, fix = f"{metric} compares answers that are generated", "Set task.num_generated."
            raise ConfigError(Problem("metric", rule, f"task={member_of(task)}", fix))
    return replace(task, metric=name)


def limited(rows: Sequence[Row], max_rows: int | None) -> Sequence[Row]:
    """Return the first rows, at most `max_rows`."""
    return rows if max_rows is None else rows[:max_rows]
