"""Find a study or a run by its name, or list the existing ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from search.plan.name import plain_name
from search.storage.location import STUDY_FILE, VARIABLE, is_local, storage_of, study_folder
from search.study.open import load_study, read_stored, study_folders
from search.study.study import Study
from search.trained.export import Trained, finished_trial, winner
from search.trained.runs import find_run


def find_study(name: str) -> Study:
    """Open the study of that name; if there is none, raise ConfigError with similar names."""
    return load_study(find_folder(name))


def find_folder(name: str) -> Path:
    """Return the folder of the study of that name, of which nothing is imported.

    Raises:
        ConfigError: There is none; lists similar names.

    """
    folder = study_folder(Path(), plain_name("study", name))
    if read_stored(folder) is None:
        raise ConfigError(missing(name, folder))
    return folder


def find_trained(source: str, name: str, trial: int | None = None) -> Trained:
    """Return a trial of a `study`, by default its winner, or a `run`.

    Raises:
        ConfigError: There is none, or it has no weights here.

    """
    if source == "run":
        return find_run(name)
    study = find_study(name)
    return winner(study) if trial is None else finished_trial(study, trial)


def check_no_words(source: str, name: str, words: Sequence[str]) -> None:
    """Raise ConfigError if there are overrides; studies and runs bring their own data."""
    for word in words:
        rule = f"{source}={name} brings its own data"
        raise ConfigError(Problem(word.partition("=")[0], rule, Verbatim(word)))


def missing(name: str, folder: Path) -> Problem:
    """Return the problem of a study that does not exist, with similar names."""
    if not is_local(storage_of(folder)):
        names = [path.name for path in study_folders(Path())]
        fix = (
            did_you_mean(name, names)
            if names
            else "It has none yet; start one with finesweep sweep."
        )
        return Problem("study", "must be a study of the storage", name, fix)
    if (folder / STUDY_FILE).is_file():
        fix = f"Its trials are on a server: set {VARIABLE}."
        return Problem("study", "must have its storage here", name, fix)
    names = [path.name for path in study_folders(Path()) if path != folder]  # maybe without a study
    fix = (
        did_you_mean(name, names) if names else "There is none yet; start one with finesweep sweep."
    )
    return Problem("study", "must be a study in studies/", name, fix)
