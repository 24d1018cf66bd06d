"""Notes of studies and trials, stored like optuna-dashboard's in the study's tables.

A note is a version, which counts its changes, and its text in parts of at most 2,045 characters,
each a system attribute of the study; parts that a shorter text does not need are emptied.
optuna-dashboard's own functions do the same, but importing them takes 2 s in every worker, because
they import its whole server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

MAX_PART = 2045  # characters that the dashboard puts into one value of the tables


def read_note(study: optuna.Study, trial_id: int | None) -> str:
    """Return the note of a trial, or of the study if `trial_id` is None; "" if there is none."""
    from search.storage.read import study_attributes

    key = _part_key(trial_id)
    attributes = study_attributes(study._storage, study._study_id, key)
    parts: list[str] = []
    while (part := attributes.get(f"{key}{len(parts)}")) is not None:
        parts.append(part)
    return "".join(parts)


def write_note(study: optuna.Study, trial_id: int | None, text: str) -> None:
    """Replace the note of a trial, or of the study if `trial_id` is None."""
    from search.storage.read import study_attributes

    storage, study_id = study._storage, study._study_id
    version, key = _version_key(trial_id), _part_key(trial_id)
    attributes = study_attributes(storage, study_id, key) | study_attributes(
        storage, study_id, version
    )
    storage.set_study_system_attr(study_id, version, int(attributes.get(version, 0)) + 1)
    parts = [text[start : start + MAX_PART] for start in range(0, len(text), MAX_PART)]
    while f"{key}{len(parts)}" in attributes:
        parts.append("")
    for number, part in enumerate(parts):
        storage.set_study_system_attr(study_id, f"{key}{number}", part)


def _version_key(trial_id: int | None) -> str:
    return f"dashboard:{'' if trial_id is None else f'{trial_id}:'}note_ver"


def _part_key(trial_id: int | None) -> str:
    return f"dashboard:{'' if trial_id is None else f'{trial_id}:'}note_str:"
