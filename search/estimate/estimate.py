"""What a study will take: seconds and memory, from what a few measured steps or trials took.

A trial trains `epochs * examples` examples and validates `epochs * validations` times, rounded up
as training ends with a validation wherever `trainer.max_steps` ends it, so

    seconds = start + epochs * examples * train
                    + ceil(epochs * validations) * validation_rows * validation

with `train` in seconds an example and `validation` in seconds a row. A row is one example, but for
windows of long contexts and blocks of a stream. The first trials are known; of the others
the mean over uniform draws from the space stands for each. That is without pruning, the most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Protocol

from lightning_modules.folder import OUTCOME_FILE
from lightning_modules.outcome import read_outcome
from search.plan.plan import Plan
from search.pruner.none import NoPruner
from search.space.space import Options
from search.storage.attribute import ATTEMPT, LENGTH, MEMORY, SECONDS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

NUM_DRAWS = 256
MIN_TRIALS = 2


@dataclass(frozen=True)
class Pace:
    """What a run of one arm takes.

    Attributes:
        train: Seconds a training example.
        validation: Seconds a validation row; 0 where `train` has them in it.
        start: Seconds of a trial besides: its network, its files.
        memory_bytes: Peak memory; None where nobody knows.
        epoch: Training examples of an epoch over all rows; None for as many as there are rows.

    """

    train: float
    validation: float
    start: float
    memory_bytes: int | None
    epoch: float | None = None


@dataclass(frozen=True)
class Measured:
    """Paces and where they come from.

    Attributes:
        paces: By arm.
        num_trials: Trials that they are from; 0 for a probe.
        start: Seconds from a worker's start to its first trial.
        device: `cpu`, `cuda` or `mps`; whose memory is meant.
        free_bytes: What that device has left; None where nobody knows.
        busy: Share of the CPUs that other work took at that time, in [0, 1].
        sizes: The settings that the memory is measured at, as `{"data.batch_size": 32}`.

    """

    paces: Mapping[Options, Pace]
    num_trials: int = 0
    start: float = 0.0
    device: str = "cpu"
    free_bytes: int | None = None
    busy: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Past:
    """What a study has behind it.

    Attributes:
        num_ended: Trials that will not run again.
        seconds: Training seconds of all trials.
        measured: Their paces, where at least two trials and one an arm can be measured.

    """

    num_ended: int = 0
    seconds: float = 0.0
    measured: Measured | None = None


@dataclass(frozen=True)
class Estimate:
    """What the rest of a study takes, without pruning.

    Attributes:
        num_trials: Trials to come.
        num_limited: Of them, how many `search.max_hours` of training let begin.
        num_workers: Processes that train.
        trial_seconds: Mean seconds of a trial.
        seconds: From the command to its end.
        is_pruned: Whether the study may end trials early, and so take less.
        measured: What it rests on.

    """

    num_trials: int
    num_limited: int
    num_workers: int
    trial_seconds: float
    seconds: float
    is_pruned: bool
    measured: Measured

    @property
    def memory_bytes(self) -> int | None:
        """Peak memory of a worker: that of its largest arm."""
        known = [p.memory_bytes for p in self.measured.paces.values() if p.memory_bytes is not None]
        return max(known, default=None)

    @property
    def memory_bytes_all(self) -> int | None:
        """Peak memory of all workers, should their peaks fall together."""
        return None if self.memory_bytes is None else self.num_workers * self.memory_bytes

    @property
    def fits(self) -> bool | None:
        """Whether that is there; None where one of the two is unknown."""
        if self.memory_bytes_all is None or self.measured.free_bytes is None:
            return None
        return self.memory_bytes_all <= self.measured.free_bytes

    def as_dict(self, groups: Sequence[str] = ()) -> dict[str, Any]:
        """Return it as plain values, for JSON; `groups` names the options of arms."""
        return {
            "source": "trials" if self.measured.num_trials else "probe",
            "num_measured_trials": self.measured.num_trials,
            "num_trials": self.num_trials,
            "num_trials_in_max_hours": self.num_limited,
            "num_workers": self.num_workers,
            "seconds": self.seconds,
            "seconds_per_trial": self.trial_seconds,
            "may_prune": self.is_pruned,
            "arms": [
                {
                    **dict(zip(groups, options, strict=False)),
                    "seconds_per_training_example": pace.train,
                    "seconds_per_validation_row": pace.validation,
                    "start_seconds": pace.start,
                    "memory_bytes": pace.memory_bytes,
                }
                for options, pace in self.measured.paces.items()
            ],
            "device": self.measured.device,
            "busy": self.measured.busy,
            "memory_at": dict(self.measured.sizes),
            "memory_bytes": self.memory_bytes,
            "memory_bytes_all_workers": self.memory_bytes_all,
            "free_bytes": self.measured.free_bytes,
            "fits": self.fits,
        }


def estimate(
    plan: Plan,
    rows: tuple[int, int],
    measured: Measured,
    suggestions: Sequence[Mapping[str, Any]] = (),
    past: Past | None = None,
) -> Estimate:
    """Return what the rest of the study takes.

    Args:
        plan: The study's.
        rows: Numbers of training and validation rows.
        measured: Paces of all arms.
        suggestions: Values of the first trials, from trial 0 on, as far as they are known.
        past: What the study has behind it.

    """
    past = past or Past()
    settings = plan.search.settings
    num_left = max(0, plan.num_trials - past.num_ended)
    known = suggestions[past.num_ended : plan.num_trials]
    training = [training_seconds(plan, values, measured, rows) for values in known]
    whole = [
        seconds + _pace(plan, v, measured).start for v, seconds in zip(known, training, strict=True)
    ]
    if num_unknown := num_left - len(known):
        drawn = draws(plan)
        times = [training_seconds(plan, values, measured, rows) for values in drawn]
        starts = [_pace(plan, values, measured).start for values in drawn]
        training += [fmean(times)] * num_unknown
        whole += [fmean(times) + fmean(starts)] * num_unknown
    num_limited = num_left
    if settings.max_hours is not None and num_left:
        left = settings.max_hours * 3600 - past.seconds
        # A trial that has begun ends, so the last one may go over the limit.
        num_limited = max(0, min(num_left, math.ceil(left / max(fmean(training), 1e-9))))
    num_workers = max(1, min(settings.workers, num_limited))
    mean = fmean(whole) if whole else 0.0
    rounds = math.ceil(num_limited / num_workers)
    return Estimate(
        num_trials=num_left,
        num_limited=num_limited,
        num_workers=num_workers,
        trial_seconds=mean,
        seconds=measured.start + rounds * mean if num_limited else 0.0,
        is_pruned=len(plan.objectives) == 1 and not isinstance(plan.search.pruner, NoPruner),
        measured=measured,
    )


def training_seconds(
    plan: Plan, values: Mapping[str, Any], measured: Measured, rows: tuple[int, int]
) -> float:
    """Return the seconds that a trial with these values trains and validates, to its end."""
    trainer = plan.defaults[plan.space.options_of(values)].trainer
    data = plan.defaults[plan.space.options_of(values)].data
    epochs = int(values.get("trainer.epochs", trainer.epochs))
    wanted = values.get("trainer.validations_per_epoch", trainer.validations_per_epoch)
    batch_size = values.get("data.batch_size", data.batch_size)
    num_rows, num_validation = rows
    pace = _pace(plan, values, measured)
    if not plan.defaults[plan.space.options_of(values)].strategy.trains:
        return num_validation * pace.validation
    num_train: float = num_rows if pace.epoch is None else pace.epoch
    most = values.get("data.max_train_rows", getattr(data, "max_train_rows", None))
    if most is not None and most < num_rows:
        num_train *= most / num_rows
    # Validations that fall on one step are one.
    steps_per_epoch = math.ceil(num_train / batch_size)
    num_steps = epochs * steps_per_epoch
    max_steps = values.get("trainer.max_steps", trainer.max_steps)
    if max_steps is not None:
        num_steps = min(num_steps, max_steps)
    num_validations = math.ceil(num_steps * min(wanted, steps_per_epoch) / steps_per_epoch)
    num_examples = num_steps / steps_per_epoch * num_train
    return float(num_examples * pace.train + num_validations * num_validation * pace.validation)


def draws(plan: Plan, number: int = NUM_DRAWS) -> list[dict[str, Any]]:
    """Return uniform draws from the space, the same ones every time.

    Of a sampler that tries a known list, such as the grid, that list.
    """
    if plan.search.sampler.is_finite:
        return [dict(values) for values in plan.first]
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))  # in memory
    return [plan.space.suggest(study.ask()) for _ in range(number)]


class Trials(Protocol):
    """What is read of a study: its trials and where their files are."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the budget."""

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what a trial varied, by config path."""

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
        """Return the seconds a training example and a validation row, as `Pace` has them."""
        if not self.num_examples:
            return 0.0, self.seconds / self.num_trials / num_validation
        return self.seconds / self.num_examples, 0.0


def past_of(plan: Plan, study: Trials, free_bytes: int, num_validation: int) -> Past:
    """Return what the study has behind it.

    Args:
        plan: The study's.
        study: Its trials.
        free_bytes: The free memory of this machine.
        num_validation: Validation rows.

    """
    ended = [trial for trial in study.trials if trial.state.is_finished()]
    seconds = sum(float(trial.user_attrs.get(SECONDS, 0)) for trial in study.trials)
    trials = []
    arms: dict[Options, _Arm] = {}
    for trial in ended:
        values = study.params_of(trial)
        options = plan.space.options_of(values)
        # A validation is reported at the number of examples seen: pruned trials count too. One
        # that trains nothing is validated once, at none.
        seen = max(trial.intermediate_values, default=None)
        trains = plan.defaults[options].strategy.trains
        if not trial.user_attrs.get(SECONDS) or seen is None or (trains and not seen):
            continue
        trials.append(trial)
        arm = arms.setdefault(options, _Arm())
        arm.num_trials += 1
        arm.epoch = max(arm.epoch, _epoch(plan, trial, values))
        arm.seconds += float(trial.user_attrs[SECONDS])
        arm.num_examples += seen
        arm.memory += [int(trial.user_attrs[MEMORY])] if MEMORY in trial.user_attrs else []
    if len(trials) < MIN_TRIALS or arms.keys() != plan.space.arms.keys():
        return Past(len(ended), seconds)
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
    return Past(len(ended), seconds, Measured(paces, len(trials), 0.0, device, free))


def _epoch(plan: Plan, trial: FrozenTrial, values: Mapping[str, Any]) -> float:
    """Return a trial's training examples in an epoch: fewer where its steps end it before."""
    epochs = plan.defaults[plan.space.options_of(values)].trainer.epochs
    num_examples, _ = trial.user_attrs.get(LENGTH, (0, 0))
    return float(num_examples / values.get("trainer.epochs", epochs))


def _start(trials: Sequence[FrozenTrial]) -> float:
    """Return what a trial takes besides its training, from those of one attempt."""
    spans = [
        (trial.datetime_complete - trial.datetime_start).total_seconds()
        - float(trial.user_attrs[SECONDS])
        for trial in trials
        if trial.datetime_start and trial.datetime_complete and trial.user_attrs.get(ATTEMPT) == 1
    ]
    return max(0.0, median(spans)) if spans else 0.0


def _device(folder: Path) -> str:
    try:
        return read_outcome(folder / OUTCOME_FILE).devices
    except FileNotFoundError:
        return "unknown"


def _pace(plan: Plan, values: Mapping[str, Any], measured: Measured) -> Pace:
    return measured.paces[plan.space.options_of(values)]
