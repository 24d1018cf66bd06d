"""Find a study or a run by its name, or list the existing ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from search.config import compose
from search.plan.name import plain_name
from search.storage.location import STUDY_FILE, VARIABLE, is_local, storage_of, study_folder
from search.study.open import load_study, stored, study_folders
from search.study.study import Study
from search.trained.export import Trained, finished_trial, winner
from search.trained.runs import find_run


def find_study(name: str) -> Study:
    """Open the study of that name; if there is none, raise ConfigError with similar names."""
    folder = study_folder(Path(), plain_name("study", name))
    if stored(folder) is None:
        raise ConfigError(missing(name, folder))
    return load_study(folder)


def find_trained(
    source: str, name: str, plugins: Sequence[str] = (), trial: int | None = None
) -> Trained:
    """Return a trial of a `study`, by default its winner, or a `run`.

    Raises:
        ConfigError: There is none, or it has no weights here.

    """
    if source == "run":
        return find_run(name, plugins)
    study = find_study(name)
    return winner(study) if trial is None else finished_trial(study, trial)


def plugins_of(source: str, name: str, words: Sequence[str]) -> Sequence[str]:
    """Return the packages that `search.plugins=[...]` names for a run.

    A run's stored configuration does not list the packages it may import; a study's does.

    Raises:
        ConfigError: There are other words; studies and runs bring their own data.

    """
    for word in words:
        key = word.partition("=")[0]
        if source == "study" or key != "search.plugins":
            raise ConfigError(Problem(key, f"{source}={name} brings its own data", Verbatim(word)))
    plugins: Sequence[str] = compose("train", words).tree["search"]["plugins"]
    return plugins


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
    names = [path.name for path in study_folders(Path())]
    fix = (
        did_you_mean(name, names) if names else "There is none yet; start one with finesweep sweep."
    )
    return Problem("study", "must be a study in studies/", name, fix)
