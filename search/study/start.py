"""Start an attempt: its values, its folder, and the checkpoint it resumes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.machine.file import write_text
from search.plan.plan import Plan
from search.storage import transaction
from search.storage.attribute import (
    ATTEMPT,
    ATTEMPTS,
    CHECKPOINT,
    ENDING,
    FOLDER,
    MICRO_BATCH,
    REASON,
)
from search.storage.failure import FailedAttempt, FailureKind
from search.study.attempt import CONFIG_FILE, Attempt, inside, make_folder, relative_folder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from search.storage.tables import StudyStorage


def start_attempt(
    tables: StudyStorage,
    plan: Plan,
    study_folder: Path,
    study_id: str,
    trial: FrozenTrial,
    values: Mapping[str, Any],
) -> Attempt:
    """Make the next attempt's folder, with the previous checkpoint, and store the attempt.

    Args:
        tables: The study's storage; its `retry` also waits for a full disk.
        plan: The study's plan.
        study_folder: The study's files.
        study_id: The ID of the study in the folders of its attempts.
        trial: The trial, claimed by this worker.
        values: The trial's values by config path.

    """
    ends = [FailedAttempt.from_dict(end) for end in trial.user_attrs.get(ATTEMPTS, ())]
    # An attempt that was killed before it started does not count; its number is used again.
    number = len(ends) + 1
    relative = relative_folder(trial.number, number)
    folder = inside(study_folder, relative)
    last = trial.user_attrs.get(FOLDER, relative)
    before = None if last == relative else inside(study_folder, last)
    config = plan.arm(values).template.text(plan.settings_of(values))

    def prepare() -> bool:
        has_files = make_folder(folder, study_id, before)
        write_text(folder / CONFIG_FILE, config)
        return has_files

    has_files = tables.retry(prepare)
    micro_batch_size = _micro_batch_size(trial, ends, plan, values)
    attributes = {
        ATTEMPT: number,
        FOLDER: relative,
        ENDING: None,
        REASON: None,
        CHECKPOINT: trial.user_attrs.get(CHECKPOINT) if has_files else None,
        MICRO_BATCH: micro_batch_size,
    }
    transaction.set_attributes(tables, trial._trial_id, attributes)
    attempt = Attempt(trial.number, trial._trial_id, number, values, folder, micro_batch_size)
    if ends:
        attempt = replace(attempt, notes=tuple(_resume_notes(trial, ends[-1], has_files)))
    return attempt


def _micro_batch_size(
    trial: FrozenTrial, ends: Sequence[FailedAttempt], plan: Plan, values: Mapping[str, Any]
) -> int | None:
    before: int | None = trial.user_attrs.get(MICRO_BATCH)
    if not ends or ends[-1].kind is not FailureKind.out_of_memory:
        return before
    run = plan.run(values)
    size = before or run.trainer.micro_batch_size or run.data.batch_size
    return max(1, size // 2)


def _resume_notes(trial: FrozenTrial, end: FailedAttempt, has_files: bool) -> Iterator[str]:
    yield _resume_note(trial, end, has_files)
    if end.kind is FailureKind.crowded:
        yield f"trial {trial.number} trains alone: no other trial uses its memory meanwhile"


def _resume_note(trial: FrozenTrial, end: FailedAttempt, has_files: bool) -> str:
    """Return a message about where a retried trial starts from."""
    why = f"attempt {end.attempt} ended: {end.reason}"
    checkpoint = trial.user_attrs.get(CHECKPOINT)
    if checkpoint is None:
        return f"trial {trial.number} starts again without a checkpoint ({why})"
    if has_files:
        step = checkpoint["step"]
        return f"trial {trial.number} resumes from its checkpoint at step {step} ({why})"
    where = checkpoint["where"]
    return (
        f"trial {trial.number} starts over ({why}): its checkpoint is in {where}, which "
        "this machine cannot read"
    )
