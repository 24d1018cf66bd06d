"""Delete a study or a run: the rows of its storage and its files, never a part of them.

Rows are removed and files are moved out of sight in one transaction; then the files are deleted.
What was killed on the way can be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.error import ConfigError, Problem, Verbatim, did_you_mean
from lightning_modules.model.files.manifest import MANIFEST
from search.config import Follows
from search.machine.aside import ASIDE, aside_of, disk_bytes, put_aside, remove
from search.plan.name import plain_name
from search.storage.attribute import CHECKPOINT, PLAN
from search.storage.engine import open_storage
from search.storage.location import (
    DATABASE,
    FOLLOW_UPS,
    STUDY_FILE,
    follow_up_folder,
    is_local,
    shown,
    storage_of,
    study_folder,
)
from search.storage.remove import InUse, remove_rows
from search.study.follow import refuse_follow_up
from search.study.open import Stored, read_stored
from search.study.study import Study
from search.trained.find import missing
from search.trained.runs import FOLDER as RUNS
from search.trained.runs import alone, check_idle


@dataclass(frozen=True)
class Doomed:
    """What would be deleted.

    Attributes:
        kind: `study` or `run`.
        name: Its name.
        folder: Its files.
        num_bytes: The size of its files.
        names: The studies in the storage: itself, and those that follow it.
        num_trials: Its trials; 0 of a run.
        elsewhere: The host and folder of a study whose files are not here; empty if they are.

    """

    kind: str
    name: str
    folder: Path
    num_bytes: int
    names: Sequence[str] = ()
    num_trials: int = 0
    elsewhere: str = ""


def find_study_to_delete(name: str) -> Doomed:
    """Return what there is of a study, which may be the rest of a deletion that was killed.

    Raises:
        ConfigError: There is nothing of that name, it is part of another study, or its folder holds
            something else.

    """
    folder = study_folder(Path(), plain_name("study", name))
    found = read_stored(folder)
    if found is None and not _is_rest(folder):
        raise ConfigError(missing(name, folder))
    _check_own("study", folder)
    if found is None:
        return Doomed("study", folder.name, folder, disk_bytes(folder))
    refuse_follow_up(folder.name, found.composition)
    _check_storage(folder)
    names = [folder.name]
    for kind in FOLLOW_UPS:
        inside = follow_up_folder(folder, kind)
        other = read_stored(inside)
        if other is not None and other.composition.follows == Follows(kind, folder.name):
            names.append(inside.name)
    storage = open_storage(storage_of(folder))
    num_trials = sum(
        len(storage.get_all_trials(storage.get_study_id_from_name(each), deepcopy=False))
        for each in names
    )
    storage.engine.dispose()
    here = folder.is_dir() or aside_of(folder).is_dir()
    elsewhere = "" if here else _root(found)
    size = disk_bytes(folder)
    return Doomed("study", folder.name, folder, size, names, num_trials, elsewhere)


def find_run_to_delete(name: str) -> Doomed:
    """Return what there is of a run; raise ConfigError if there is none of that name."""
    folder = RUNS / plain_name("run", name)
    if not folder.is_dir() and not aside_of(folder).is_dir():
        names = [path.name for path in RUNS.glob("*/") if path.name != ASIDE]
        fix = did_you_mean(name, names) if names else "There is none."
        raise ConfigError(Problem("run", f"must be a run in {RUNS}/", name, fix))
    _check_own("run", folder)
    check_idle(folder)
    return Doomed("run", folder.name, folder, disk_bytes(folder))


def delete(doomed: Doomed) -> None:
    """Delete a study or a run.

    Raises:
        ConfigError: The run or a trial of the study is being trained; nothing was deleted.
        OSError: Its files could not all be deleted; it can be repeated.

    """
    if doomed.names:
        storage = open_storage(storage_of(doomed.folder))
        ids = [storage.get_study_id_from_name(name) for name in doomed.names]
        try:
            remove_rows(storage, ids, lambda: put_aside(doomed.folder))
        except InUse as error:
            raise ConfigError(_in_use(doomed.name, error)) from None
        finally:
            storage.engine.dispose()
    elif doomed.kind == "run" and doomed.folder.is_dir():
        with alone(doomed.folder):
            put_aside(doomed.folder)
    remove(doomed.folder)


def withdraw(study: Study) -> bool:
    """Delete a new study that was refused before any of its trials was trained.

    Returns: Whether it is gone; not if a trial was trained, or another worker has joined.
    """
    trials = study.trials
    if any(
        trial.state.name != "WAITING"
        or trial.intermediate_values
        or trial.user_attrs.get(CHECKPOINT)
        for trial in trials
    ):
        return False
    try:
        delete(find_study_to_delete(study.plan.name))
    except (ConfigError, OSError):
        return False
    with suppress(OSError):  # there are other studies
        study.folder.parent.rmdir()
    return True


def _in_use(name: str, error: InUse) -> Problem:
    if error.workers:
        num = len(error.workers)
        got = f"{num} worker{'s' * (num != 1)}: {', '.join(error.workers[:3])}"
        fix = f"End it with finesweep stop study={name}, and wait for the running trials."
    else:
        got = f"{error.num_asked} of its trials asked for and not told"
        fix = f"Give each back: finesweep tell study={name} trial=N ending=interrupted."
    return Problem("study", f"nobody may train trials of {name}", Verbatim(got), fix)


def _is_rest(folder: Path) -> bool:
    """Return whether a deletion of the study was killed after its rows were removed.

    Raises:
        ConfigError: Its folder has the database of a study of another name.

    """
    if aside_of(folder).is_dir():
        return not folder.exists()
    if is_local(storage_of(folder)):
        if not (folder / DATABASE).is_file():
            return False
        if names := _studies(folder):
            rule = f"{folder / DATABASE} must hold the study {folder.name}"
            fix = f"Rename the folder to {folder.with_name(names[0])}, and name that study."
            raise ConfigError(Problem("study", rule, ", ".join(names), fix))
        return True  # a sweep was killed before it wrote the study
    return _names_storage(folder) is True


def _studies(folder: Path) -> list[str]:
    """Return the names of the studies in a folder's database."""
    storage = open_storage(storage_of(folder))
    names = [each.study_name for each in storage.get_all_studies() if PLAN in each.system_attrs]
    storage.engine.dispose()
    return sorted(names, key=len)  # one that follows another has a longer name


def _check_storage(folder: Path) -> None:
    """Raise ConfigError if the folder of a study on a server has the files of another study."""
    url = storage_of(folder)
    if is_local(url) or not folder.is_dir():
        return
    has_database = (folder / DATABASE).is_file()
    if has_database or _names_storage(folder) is False:
        rule = f"{folder} must not belong to another study"
        got = Verbatim(f"one whose trials are not on {shown(url)}")
        fix = "Move it away, or run the command in another folder."
        raise ConfigError(Problem("study", rule, got, fix))


def _names_storage(folder: Path) -> bool | None:
    """Return whether the folder's study is on the server; None if the folder does not say it."""
    file = folder / STUDY_FILE
    if not file.is_file():
        return None
    return bool(json.loads(file.read_text("utf-8"))["storage"] == shown(storage_of(folder)))


def _check_own(kind: str, folder: Path) -> None:
    """Raise ConfigError if a folder is a link, or holds what must stay: an exported model."""
    if folder.is_symlink():
        rule, got = "must be a folder", Verbatim(f"{folder}, a link to {folder.resolve()}")
        raise ConfigError(Problem(kind, rule, got, "Delete both by hand."))
    exported = sorted(path.parent for path in folder.rglob(MANIFEST))
    if exported:
        rule = f"{folder} must hold no exported models, which stay"
        got, fix = Verbatim(", ".join(map(str, exported[:3]))), "Move them away, or delete them."
        raise ConfigError(Problem(kind, rule, got, fix))


def _root(found: Stored) -> str:
    return found.root or "the machine where it was started"
