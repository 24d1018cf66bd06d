"""Find a study that is there, or say which ones are."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.error import ConfigError, Problem, did_you_mean
from search.opening import load_study, study_folder
from search.plan import check_name
from search.study import DATABASE, Study


def find_study(name: str) -> Study:
    """Open the study of that name; raise ConfigError with those that are there."""
    check_name("study", name)
    folder = study_folder(Path(), name)
    if not (folder / DATABASE).is_file():
        names = sorted(path.parent.name for path in Path("studies").glob(f"*/{DATABASE}"))
        fix = did_you_mean(name, names) if names else "There is none here yet: finesweep sweep."
        raise ConfigError(Problem("study", "must be a study in studies/", name, fix))
    return load_study(folder)
