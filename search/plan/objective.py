"""The objectives of a study: first a validation metric of the task, then optional costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.machine.hardware import choose_hardware
from lightning_modules.machine.peak import peak_of
from lightning_modules.outcome import Outcome
from lightning_modules.run import Run
from lightning_modules.task.base import Direction, Task

METRIC_PREFIX = "validation/"

SPEED, MFU = "tokens_per_second", "mfu"
COSTS: Mapping[str, Direction] = {
    "seconds": "minimize",
    "trainable_parameters": "minimize",
    SPEED: "maximize",
    MFU: "maximize",
    "peak_memory_gib": "minimize",
    "gradient_norm": "minimize",
}
"""What a training costs, how fast and how steep it is; see `lightning_modules.outcome.Outcome`."""


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
        """Return the objective's value for a finished training.

        A run that trains nothing has no speed; it counts as the slowest. Its gradients are 0.

        Raises:
            ConfigError: The training did not measure it, see `mfu_problem`.

        """
        assert outcome.best is not None, "a finished run has been validated"
        if self.name not in COSTS:
            return outcome.best.metrics[self.short]
        if self.name == "trainable_parameters":
            return float(outcome.num_trainable)
        value: float | None = getattr(outcome, self.name)
        if self.name == MFU and value is None and outcome.tokens_per_second is not None:
            raise ConfigError(mfu_problem(outcome.hardware))
        return 0.0 if value is None else value


def build_objectives(names: Sequence[str], task: Task) -> tuple[Objective, ...]:
    """Return the objectives by name; check the names with `objective_problems` first."""
    directions = dict(COSTS)
    directions |= {METRIC_PREFIX + metric: way for metric, way in task.goals.items()}
    return tuple(Objective(name, directions[name]) for name in map(full_name, names))


def objective_problems(names: Sequence[str], task: type[Task] | Task) -> Iterator[Problem]:
    """Yield the problems of `search.objectives`."""
    metrics = [METRIC_PREFIX + metric for metric in _metrics_of(task)]
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


def check_measurable(objectives: Sequence[Objective], runs: Iterable[Run]) -> None:
    """Raise ConfigError if an objective cannot be measured for these runs on this machine."""
    names = {objective.name for objective in objectives}
    for run in runs if names & {SPEED, MFU} else ():
        trainer, strategy = run.trainer, run.strategy
        if strategy.trains and not strategy.differentiates:
            rule = f"{SPEED} needs strategies that read each text in each epoch"
            got = Verbatim(f"strategy={run.flat()['strategy']}")
            fix = "Search seconds instead."
            raise ConfigError(Problem("search.objectives", rule, got, fix))
        if MFU in names and strategy.trains:
            hardware = choose_hardware(trainer.device, trainer.precision, trainer.devices)
            if peak_of(hardware) is None:
                raise ConfigError(mfu_problem(str(hardware)))


def mfu_problem(hardware: str) -> Problem:
    """Return the problem of an objective that the hardware, in words, cannot measure."""
    rule = f"{MFU} needs a GPU with a known peak, in bf16, and a network without experts or encoder"
    fix = "Search tokens_per_second instead."
    return Problem("search.objectives", rule, Verbatim(hardware), fix)


def full_name(name: str) -> str:
    """Return an objective's name with its split.

    >>> full_name("accuracy"), full_name("validation/mcc"), full_name("seconds")
    ('validation/accuracy', 'validation/mcc', 'seconds')
    """
    return name if name in COSTS or name.startswith(METRIC_PREFIX) else METRIC_PREFIX + name


def _metrics_of(task: type[Task] | Task) -> Sequence[str]:
    """Return a task's metrics; of a class, those that need no setting."""
    return list(task.directions if isinstance(task, type) else task.goals)
