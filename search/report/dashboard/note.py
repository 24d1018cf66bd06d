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

    _, _, key = _keys(trial_id)
    attributes = study_attributes(study._storage, study._study_id, key)
    parts: list[str] = []
    while (part := attributes.get(f"{key}{len(parts)}")) is not None:
        parts.append(part)
    return "".join(parts)


def write_note(study: optuna.Study, trial_id: int | None, text: str) -> None:
    """Replace the note of a trial, or of the study if `trial_id` is None."""
    for name, value in note_values(study, trial_id, text).items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def note_values(study: optuna.Study, trial_id: int | None, text: str) -> dict[str, int | str]:
    """Return the study's system attributes that replace a note, the version first."""
    from search.storage.read import study_attributes

    start, version, key = _keys(trial_id)
    attributes = study_attributes(study._storage, study._study_id, start)
    parts = [text[at : at + MAX_PART] for at in range(0, len(text), MAX_PART)]
    while f"{key}{len(parts)}" in attributes:
        parts.append("")
    number = int(attributes.get(version, 0)) + 1
    return {version: number, **{f"{key}{at}": part for at, part in enumerate(parts)}}


def _keys(trial_id: int | None) -> tuple[str, str, str]:
    """Return how the names of a note's attributes begin, and those of its version and parts."""
    start = f"dashboard:{'' if trial_id is None else f'{trial_id}:'}note_"
    return start, f"{start}ver", f"{start}str:"
