"""By which metrics a run's best validation and a study's best trial are chosen.

The score that people ask for, e.g. accuracy, moves in steps of one row, so that the best of many
trials on a few hundred rows is mostly the luckiest one. A loss uses every row's probability and is
less noisy. But a network that grows too sure of itself has a higher log loss with the same answers.
A temperature takes that away (`metric.calibration`), and the Brier score, which is bounded, hardly
minds.
"""

from __future__ import annotations

from lightning_modules.task.base import Task
from lightning_modules.trainer import Select

AUTO = Select.cautious_brier
"""What `Select.auto` stands for."""


def settled(select: Select, task: Task) -> Select:
    """Return the rule that is followed: never `auto`, and none whose score the task lacks.

    A task without classes may have a metric that stands for these scores, e.g. the squared error.
    """
    if select is Select.auto:
        select = AUTO
    has_score = select.score in task.goals or task.smooth_metric is not None
    return select if has_score else Select.metric


def chosen_by(select: Select, task: Task) -> tuple[str, ...]:
    """Return the metrics that are compared, each on a tie of those before."""
    rule = settled(select, task)
    if rule is Select.metric:
        return (task.metric,)
    score = rule.score if rule.score in task.goals else task.smooth_metric
    assert score is not None
    return _once(score, task.metric)


def _once(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
