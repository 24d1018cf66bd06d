"""Names of the attributes for data of a study and its trials that Optuna has no field for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.outcome import Ending

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# Optuna user attributes of a trial; stock dashboards show them.
VALUES = "values"  # of a default that lies outside the space
WORKER = "worker"  # the name of the worker that trains it, or trained it last
ATTEMPT = "attempt"
ATTEMPTS = "attempts"  # how each ended, see search.storage.failure
CHECKPOINT = "checkpoint"  # the last reported one: attempt, step, where
FOLDER = "folder"
ENDING = "ending"
REASON = "reason"
METRICS = "metrics"
BEST_EPOCH = "best_epoch"
SECONDS = "seconds"
SCORING = "scoring_seconds"  # about what scoring the test rows takes
PROGRESS = "progress"  # at the last validation: training seconds, and time of day
THREADS = "threads"
MEMORY = "memory_bytes"
SPEED = "tokens_per_second"
MFU = "mfu"  # the share of the device's peak
GRADIENT_NORM = "gradient_norm"  # the mean over the steps, before clipping
PACKED = "packed"  # whether its attempt trains together with others, in one process
PLACE = "place"  # the memory that it uses or used last, see search.storage.place
ALONE = "alone_in"  # the area whose memory it must have for itself, after it ran out beside others
MICRO_BATCH = "micro_batch_size"  # of the last attempt, unless the configured one
TRAINABLE = "trainable_parameters"
VERDICT = "verdict"
REPORTED = "reported"  # by a loop of the caller's own: attempt, step, and whether to stop there
GUARDS = "guards"  # what the best weights scored on the data of guards, by name
LENGTH = "examples"  # in total, and until a longer run would differ
# System attributes of a trial, which dashboards hide.
FIXED = "fixed_params"  # Optuna's name for the parameters that a waiting trial starts with
CURVE = "finesweep.curve"  # all that each validation measured, see search.storage.curve
ROW_SCORES = "finesweep.row_scores"  # see lightning_modules.task.jackknife
CHOSEN_SCORES = "finesweep.chosen_scores"  # the same for what chooses trials, if it is another
START = "finesweep.start"  # the values that it was queued with, as text; the sampler chose the rest
KEY = "finesweep.key"  # its values as text, unique in a study
TURN = "finesweep.turn"  # its arm was chosen by turns, see search.study.turn
CONSTRAINT = "constraints:"  # Optuna's prefix for a constraint; a value > 0 violates it
GUARD = f"{CONSTRAINT}guard "  # with a guard's name: by how much it is broken, see GuardScore
# System attributes of the study.
PLAN = "finesweep.plan"
DATA = "finesweep.data"
GUARD_DATA = "finesweep.guard_data"  # the fingerprint of each guard's data, by its name
STOP = "finesweep.stop"
RANGES = "finesweep.ranges"  # the changes of its ranges: when, name, old, new
PRIOR = "finesweep.prior"  # what it took over from another study, see search.study.warm
CONFIRMED = "finesweep.confirmed"  # scores on fresh splits, see search.study.confirmed
CERTIFICATE = "finesweep.certificate"  # the verdicts, see search.certificate.certificate
LOOK = "finesweep.look."  # with random text: when and why the test rows were scored
SCORER = "finesweep.scorer"  # the worker that scores its runs, see search.storage.scorer
SCORED = "finesweep.scored."  # with a run's number: what it scored on the rows of a certificate
DROPPED = "finesweep.dropped."  # with a trial's number: whether it is out of consideration
ID = "finesweep.id"  # distinguishes a study from an earlier one of the same name
ROOT = "finesweep.root"  # the host and folder where it was started


def was_alone(trial: FrozenTrial) -> bool:
    """Return whether an ended trial had its worker for itself, from its start to its end."""
    return trial.user_attrs.get(ATTEMPT) == 1 and not trial.user_attrs.get(PACKED)


def constraint(ending: Ending) -> str:
    """Return the system attribute in which Optuna's samplers look for a violated constraint."""
    return f"{CONSTRAINT}{ending.value}"


def broken_guards(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the guards that a trial breaks, from its system attributes."""
    names = [name for name in attributes if name.startswith(GUARD)]
    return tuple(name.removeprefix(GUARD) for name in names if attributes[name] > 0)


def drop_attribute(number: int) -> str:
    """Return the study's attribute for whether a trial is dropped.

    It is the study's because Optuna lets no attribute of an ended trial change.
    """
    return f"{DROPPED}{number}"


def dropped_numbers(attributes: Mapping[str, Any]) -> frozenset[int]:
    """Return the numbers of the dropped trials from the study's system attributes."""
    return frozenset(
        int(name.removeprefix(DROPPED))
        for name, is_dropped in attributes.items()
        if name.startswith(DROPPED) and is_dropped
    )
