"""What a study's trials say of its time and memory, once enough of them have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Protocol

from lightning_modules.folder import OUTCOME_FILE
from lightning_modules.outcome import read_outcome
from search.estimate.estimate import Measured, Pace, Past
from search.machine.gpu import gpus
from search.plan.plan import Plan
from search.space.space import Options
from search.storage.attribute import LENGTH, MEMORY, SCORING, SECONDS, was_alone

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MIN_TRIALS = 2
"""Of all arms together, that have trained; with fewer nothing is estimated from them."""


class Trials(Protocol):
    """The parts of a study that are read here: its trials and their folders."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget."""

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return a trial's settings, by config path."""

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Return the folder of the trial's last attempt."""


@dataclass
class _Arm:
    """Sums over an arm's trials."""

    num_trials: int = 0
    seconds: float = 0.0
    num_examples: int = 0
    epoch: float = 0.0
    memory: list[int] = field(default_factory=list)

    def pace(self, num_validation: int) -> tuple[float, float]:
        """Return seconds per training example and per validation row, like those of `Pace`."""
        if not self.num_examples:
            return 0.0, self.seconds / self.num_trials / num_validation
        return self.seconds / self.num_examples, 0.0


def past_of(plan: Plan, study: Trials, free_bytes: int, num_validation: int) -> Past:
    """Return the study's past.

    Args:
        plan: The study's plan.
        study: Its trials.
        free_bytes: Free memory of this machine.
        num_validation: Number of validation rows.

    """
    ended = [trial for trial in study.trials if trial.state.is_finished()]
    seconds = sum(float(trial.user_attrs.get(SECONDS, 0)) for trial in study.trials)
    trials = []
    arms: dict[Options, _Arm] = {}
    for trial in ended:
        values = study.params_of(trial)
        options = plan.space.options_of(values)
        # Validations are reported at the number of examples seen, so pruned trials count too. A
        # trial that trains nothing is validated once, at 0 examples.
        seen = max(trial.intermediate_values, default=None)
        trains = plan.trains(values)
        if not trial.user_attrs.get(SECONDS) or seen is None or (trains and not seen):
            continue
        trials.append(trial)
        arm = arms.setdefault(options, _Arm())
        arm.num_trials += 1
        arm.epoch = max(arm.epoch, _epoch(plan, trial, values))
        arm.seconds += float(trial.user_attrs[SECONDS])
        arm.num_examples += seen
        arm.memory += [int(trial.user_attrs[MEMORY])] if MEMORY in trial.user_attrs else []
    known = [each for each in (t.user_attrs.get(SCORING) for t in ended) if each is not None]
    scoring = fmean(known) if known else None
    if len(trials) < MIN_TRIALS or arms.keys() != plan.space.arms.keys():
        return Past(len(ended), seconds, None, scoring)
    start = _start(trials)
    device = _device(study.folder_of(trials[-1]))
    paces = {
        options: Pace(
            *arms[options].pace(num_validation),
            start,
            max(arms[options].memory, default=None),
            arms[options].epoch or None,
        )
        for options in plan.space.arms
    }
    free = free_bytes if device == "cpu" else None
    num_shares = 1
    if device.startswith("cuda"):
        num_shares = max(1, len(gpus()) // plan.default.trainer.devices)
    measured = Measured(paces, len(trials), 0.0, device, free, num_shares=num_shares)
    return Past(len(ended), seconds, measured, scoring)


def _epoch(plan: Plan, trial: FrozenTrial, values: Mapping[str, Any]) -> float:
    """Return a trial's training examples per epoch; fewer if `max_steps` ended it early."""
    epochs = plan.defaults[plan.space.options_of(values)].trainer.epochs
    num_examples, _ = trial.user_attrs.get(LENGTH, (0, 0))
    return float(num_examples / plan.settings_of(values).get("trainer.epochs", epochs))


def _start(trials: Sequence[FrozenTrial]) -> float:
    """Return the seconds a trial takes besides training, from those that were alone."""
    spans = [
        (trial.datetime_complete - trial.datetime_start).total_seconds()
        - float(trial.user_attrs[SECONDS])
        for trial in trials
        if trial.datetime_start and trial.datetime_complete and was_alone(trial)
    ]
    return max(0.0, median(spans)) if spans else 0.0


def _device(folder: Path) -> str:
    try:
        return read_outcome(folder / OUTCOME_FILE).devices
    except FileNotFoundError:
        return "unknown"
