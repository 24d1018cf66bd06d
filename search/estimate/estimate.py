"""Estimate a study's time and memory, from a few measured steps or trials.

A trial trains `epochs * examples` examples and validates `epochs * validations` times, rounded up
because training always ends with a validation, even if `trainer.max_steps` ends it. So

    seconds = start + epochs * examples * train
                    + ceil(epochs * validations) * validation_rows * validation

with `train` in seconds per example and `validation` in seconds per row. A row is one example,
except for windows of long contexts and blocks of a stream. The first trials are known; each of the
others is estimated by the mean over uniform draws from the space. Pruning is ignored, so this is an
upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from search.plan.plan import Plan
from search.pruner.none import NoPruner
from search.space.space import Options
from search.study.reserve import reserved_before

if TYPE_CHECKING:
    pass

NUM_DRAWS = 256


@dataclass(frozen=True)
class Pace:
    """Time and memory of a run of one arm.

    Attributes:
        train: Seconds per training example.
        validation: Seconds per validation row; 0 if included in `train`.
        start: Other seconds per trial: its network, its files.
        memory_bytes: Peak memory; None if unknown.
        epoch: Training examples per epoch over all rows; None if one per row.

    """

    train: float
    validation: float
    start: float
    memory_bytes: int | None
    epoch: float | None = None


@dataclass(frozen=True)
class PackPace:
    """Time and memory of runs of one arm that share their passes.

    Attributes:
        num_trials: How many runs.
        gain: How many times as fast they are as one by one; None if measuring it took too long, or
            if they cannot share passes.
        refusal: Why they train one by one; None if they need not.
        memory_bytes: Their peak memory; None if it was not measured.

    """

    num_trials: int
    gain: float | None
    refusal: str | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """Paces and where they come from.

    Attributes:
        paces: By arm.
        num_trials: Number of trials they come from; 0 for a probe.
        start: Seconds from a worker's start to its first trial.
        device: The device whose memory is measured: `cpu`, `cuda` or `mps`.
        free_bytes: Free memory of one such device; None if unknown.
        busy: Share of the CPUs that other programs used meanwhile, in [0, 1].
        sizes: The settings at which memory was measured, e.g. `{"data.batch_size": 32}`.
        num_shares: How many runs can train at once, each on devices of its own.
        at_once: By arm, how many examples of that batch fit into memory at once, if not all do.
        feature_seconds: Seconds of `start` that frozen parts take to pass all rows, once.
        feature_bytes: What the cache keeps of their outputs.
        packs: By arm, what it is to train `search.pack` trials together, if that was measured.

    """

    paces: Mapping[Options, Pace]
    num_trials: int = 0
    start: float = 0.0
    device: str = "cpu"
    free_bytes: int | None = None
    busy: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    num_shares: int = 1
    at_once: Mapping[Options, int] = field(default_factory=dict)
    feature_seconds: float = 0.0
    feature_bytes: int = 0
    packs: Mapping[Options, PackPace] = field(default_factory=dict)


@dataclass(frozen=True)
class Past:
    """The past of a study.

    Attributes:
        num_ended: Trials that will not run again.
        seconds: Training seconds of all trials.
        measured: Their paces, if at least two trials and one per arm can be measured.
        scoring_seconds: Mean seconds of scoring their models on the test rows; None if unknown.

    """

    num_ended: int = 0
    seconds: float = 0.0
    measured: Measured | None = None
    scoring_seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Time and memory of the rest of a study, without pruning.

    Attributes:
        num_trials: Remaining trials.
        num_limited: How many of them can start within `search.max_hours` of training.
        num_workers: Training processes.
        trial_seconds: Mean seconds of a trial.
        scoring_seconds: Mean seconds of scoring a trial's model on the test rows.
        seconds: Seconds from the command's start to its end.
        is_pruned: Whether the study may end trials early and take less.
        measured: The measurements that it is based on.

    """

    num_trials: int
    num_limited: int
    num_workers: int
    trial_seconds: float
    seconds: float
    is_pruned: bool
    measured: Measured
    scoring_seconds: float = 0.0

    @property
    def memory_bytes(self) -> int | None:
        """Peak memory of a worker, in its largest arm."""
        known = [p.memory_bytes for p in self.measured.paces.values() if p.memory_bytes is not None]
        return max(known, default=None)

    @property
    def memory_bytes_all(self) -> int | None:
        """Peak memory of all workers, if their peaks coincide."""
        return None if self.memory_bytes is None else self.num_workers * self.memory_bytes

    @property
    def workers_per_device(self) -> int:
        """The most workers that share the memory of one device."""
        return math.ceil(self.num_workers / self.measured.num_shares)

    @property
    def memory_bytes_per_device(self) -> int | None:
        """Peak memory of the workers that share a device, if their peaks coincide."""
        return None if self.memory_bytes is None else self.workers_per_device * self.memory_bytes

    @property
    def fits(self) -> bool | None:
        """Whether a device has that much free memory; None if either is unknown."""
        if self.memory_bytes_per_device is None or self.measured.free_bytes is None:
            return None
        return self.memory_bytes_per_device <= self.measured.free_bytes

    def as_dict(self, groups: Sequence[str] = ()) -> dict[str, Any]:
        """Return it as plain values, for JSON; `groups` are the names of the arms' options."""
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
                    "examples_at_once": self.measured.at_once.get(options),
                    "pack": _as_dict(self.measured.packs.get(options)),
                }
                for options, pace in self.measured.paces.items()
            ],
            "feature_seconds": self.measured.feature_seconds,
            "feature_bytes": self.measured.feature_bytes,
            "device": self.measured.device,
            "busy": self.measured.busy,
            "memory_at": dict(self.measured.sizes),
            "memory_bytes": self.memory_bytes,
            "memory_bytes_all_workers": self.memory_bytes_all,
            "memory_bytes_per_device": self.memory_bytes_per_device,
            "free_bytes": self.measured.free_bytes,
            "fits": self.fits,
        }


def estimate(
    plan: Plan,
    rows: tuple[int, int],
    measured: Measured,
    suggestions: Sequence[Mapping[str, Any]] = (),
    past: Past | None = None,
    num_guarded: int = 0,
    num_test: int = 0,
) -> Estimate:
    """Return time and memory of the rest of the study.

    Args:
        plan: The study's plan.
        rows: Numbers of training and validation rows.
        measured: Paces of all arms.
        suggestions: Values of the first trials from trial 0 on, as far as known. Those that leave
            something to the sampler count as unknown.
        past: The study's past.
        num_guarded: Rows that guards score at the end of each trial, and once per worker on the
            untouched model.
        num_test: Test rows.

    """
    past = past or Past()
    # Measured trials took the time for their own, which is in what they took besides training.
    num_unmeasured = 0 if measured.num_trials else num_guarded
    # Validations read stored features. What scores other rows runs the frozen part for each.
    frozen = measured.feature_seconds / len(measured.paces) / sum(rows)

    def besides(values: Mapping[str, Any]) -> float:
        pace = _pace(plan, values, measured)
        return pace.start + num_unmeasured * (pace.validation + frozen)

    settings = plan.search.settings
    num_left = max(0, plan.num_trials - past.num_ended)
    ahead = suggestions[past.num_ended : plan.num_trials]
    known = [values for values in ahead if plan.space.is_complete(values)]
    training = [training_seconds(plan, values, measured, rows) for values in known]
    whole = [seconds + besides(v) for v, seconds in zip(known, training, strict=True)]
    if num_unknown := num_left - len(known):
        drawn = draws(plan)
        times = [training_seconds(plan, values, measured, rows) for values in drawn]
        training += [fmean(times)] * num_unknown
        whole += [fmean(times) + fmean(map(besides, drawn))] * num_unknown
    scoring = past.scoring_seconds
    if scoring is None:
        scoring = num_test * (fmean(pace.validation for pace in measured.paces.values()) + frozen)
    num_limited = num_left
    if settings.max_hours is not None and num_left:
        left = settings.max_hours * 3600 - past.seconds
        left -= sum(reserved_before(plan, fmean(whole), scoring))
        # A trial that has started may finish, so the last one can exceed the limit.
        num_limited = max(0, min(num_left, math.ceil(left / max(fmean(training), 1e-9))))
    num_workers = max(1, min(settings.workers, num_limited))
    mean = fmean(whole) if whole else 0.0
    rounds = math.ceil(num_limited / num_workers)
    slowest = max(pace.validation for pace in measured.paces.values())
    untouched = num_unmeasured * (slowest + frozen)
    return Estimate(
        num_trials=num_left,
        num_limited=num_limited,
        num_workers=num_workers,
        trial_seconds=mean,
        seconds=measured.start + untouched + rounds * mean if num_limited else 0.0,
        is_pruned=len(plan.objectives) == 1 and not isinstance(plan.search.pruner, NoPruner),
        measured=measured,
        scoring_seconds=scoring,
    )


def training_seconds(
    plan: Plan, values: Mapping[str, Any], measured: Measured, rows: tuple[int, int]
) -> float:
    """Return the seconds of training and validation of a whole trial with these values."""
    trainer = plan.defaults[plan.space.options_of(values)].trainer
    data = plan.defaults[plan.space.options_of(values)].data
    epochs = int(plan.settings_of(values).get("trainer.epochs", trainer.epochs))
    per_epoch = values.get("trainer.validations_per_epoch", trainer.validations_per_epoch)
    batch_size = values.get("data.batch_size", data.batch_size)
    num_rows, num_validation = rows
    pace = _pace(plan, values, measured)
    if not plan.trains(values):
        return num_validation * pace.validation
    num_train: float = num_rows if pace.epoch is None else pace.epoch
    max_rows = values.get("data.max_train_rows", getattr(data, "max_train_rows", None))
    if max_rows is not None and max_rows < num_rows:
        num_train *= max_rows / num_rows
    # Validations on the same step count once.
    steps_per_epoch = math.ceil(num_train / batch_size)
    num_steps = epochs * steps_per_epoch
    max_steps = values.get("trainer.max_steps", trainer.max_steps)
    if max_steps is not None:
        num_steps = min(num_steps, max_steps)
    num_validations = math.ceil(num_steps * min(per_epoch, steps_per_epoch) / steps_per_epoch)
    num_examples = num_steps / steps_per_epoch * num_train
    return float(num_examples * pace.train + num_validations * num_validation * pace.validation)


def draws(plan: Plan, number: int = NUM_DRAWS) -> list[dict[str, Any]]:
    """Return uniform draws from the space, the same ones every time.

    For a sampler that tries a known list, e.g. the grid, return that list.
    """
    if plan.search.sampler.is_finite:
        return [dict(values) for values in plan.first]
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))  # in memory
    return [plan.space.suggest(study.ask()) for _ in range(number)]


def _as_dict(pack: PackPace | None) -> dict[str, Any] | None:
    return None if pack is None else asdict(pack)


def _pace(plan: Plan, values: Mapping[str, Any], measured: Measured) -> Pace:
    return measured.paces[plan.space.options_of(values)]
