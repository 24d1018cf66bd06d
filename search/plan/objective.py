"""The objectives of a study: first a validation metric of the task, then optional costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem, did_you_mean
from lightning_modules.outcome import Outcome
from lightning_modules.task.base import Direction, Task

METRIC_PREFIX = "validation/"

COSTS: Mapping[str, str] = {
    "seconds": "training time, over all attempts",
    "trainable_parameters": "parameters that are trained",
}


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        name: `validation/METRIC`, or one of `COSTS`.
        direction: `maximize` or `minimize`.

    """

    name: str
    direction: Direction

    @property
    def short(self) -> str:
        """The name to show, without the split."""
        return self.name.removeprefix(METRIC_PREFIX)

    @property
    def sign(self) -> int:
        """1 if more is better, else -1."""
        return 1 if self.direction == "maximize" else -1

    def value(self, outcome: Outcome) -> float:
        """Return the objective's value for a finished training."""
        assert outcome.best is not None, "a finished run has been validated"
        if self.name == "seconds":
            return outcome.seconds
        if self.name == "trainable_parameters":
            return float(outcome.num_trainable)
        return outcome.best.metrics[self.short]


def build_objectives(names: Sequence[str], task: Task) -> tuple[Objective, ...]:
    """Return the objectives by name; check the names with `objective_problems` first."""
    directions: dict[str, Direction] = dict.fromkeys(COSTS, "minimize")
    directions |= {METRIC_PREFIX + metric: way for metric, way in task.directions.items()}
    return tuple(Objective(name, directions[name]) for name in map(full_name, names))


def objective_problems(names: Sequence[str], task: type[Task]) -> Iterator[Problem]:
    """Yield the problems of `search.objectives`."""
    metrics = [METRIC_PREFIX + metric for metric in task.directions]
    known = [*metrics, *COSTS]
    for number, name in enumerate(names):
        if full_name(name) not in known:
            fix = did_you_mean(name, known)
            yield Problem("search.objectives", f"must be among {', '.join(known)}", name, fix)
        elif number == 0 and full_name(name) not in metrics:
            fix = "It also chooses each trial's best weights, and comes first in tables."
            yield Problem("search.objectives", "the first must be a validation metric", name, fix)
    if len(set(map(full_name, names))) < len(names):
        yield Problem("search.objectives", "must differ", list(names))


def full_name(name: str) -> str:
    """Return an objective's name with its split.

    >>> full_name("accuracy"), full_name("validation/mcc"), full_name("seconds")
    ('validation/accuracy', 'validation/mcc', 'seconds')
    """
    return name if name in COSTS or name.startswith(METRIC_PREFIX) else METRIC_PREFIX + name
