"""Names under which a study and its trials keep what Optuna has no place for."""

from __future__ import annotations

from lightning_modules.outcome import Ending

# Optuna user attributes of a trial; stock dashboards show them.
VALUES = "values"  # of the default, where it lies outside the space
WORKER = "worker"  # the name of the one that trains it, or trained it last
ATTEMPT = "attempt"
ATTEMPTS = "attempts"  # how each one ended, see search.storage.failure
CHECKPOINT = "checkpoint"  # the last one of which the trial told: attempt, step, where
FOLDER = "folder"
ENDING = "ending"
REASON = "reason"
METRICS = "metrics"
BEST_EPOCH = "best_epoch"
SECONDS = "seconds"
PROGRESS = "progress"  # training seconds at the last validation, and the time of day then
THREADS = "threads"
MEMORY = "memory_bytes"
MICRO_BATCH = "micro_batch_size"  # that the last attempt began with; none where it was configured
TRAINABLE = "trainable_parameters"
VERDICT = "verdict"
LENGTH = "examples"  # in all, and up to where a longer run would be the same
# ... system attributes of a trial, which dashboards leave out ...
FIXED = "fixed_params"  # Optuna's name of the parameters that a waiting trial starts with
KEY = "finesweep.key"  # what it varies, as text: no two trials of a study have the same
# ... and system attributes of the study.
PLAN = "finesweep.plan"
DATA = "finesweep.data"
STOP = "finesweep.stop"
ID = "finesweep.id"  # tells a study from another that once had its name
ROOT = "finesweep.root"  # the host and folder where it began


def constraint(ending: Ending) -> str:
    """Return the system attribute of a violated constraint, from which Optuna's samplers learn."""
    return f"constraints:{ending.value}"
