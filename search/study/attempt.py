"""An attempt: one run of a trial in its own folder, resuming from the previous attempt."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.error import ConfigError, Problem
from lightning_modules.folder import BEST_FILE, CHECKPOINT_PARTS, OBSERVED_FILE
from lightning_modules.machine.file import share, write_json

CONFIG_FILE = "config.yaml"
IDENTITY_FILE = "attempt.json"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial.

    Attributes:
        number: The trial's number, the same for all its attempts.
        trial_id: The trial's ID in the storage.
        attempt: 1 for the first.
        values: The trial's values by config path.
        folder: The attempt's files.
        micro_batch_size: The size to start with if the configured one ran out of memory, else None.
        notes: Messages for people about how it starts.

    """

    number: int
    trial_id: int
    attempt: int
    values: Mapping[str, Any]
    folder: Path
    micro_batch_size: int | None = None
    notes: tuple[str, ...] = ()


def relative_folder(number: int, attempt: int) -> str:
    """Return an attempt's folder, relative to its study's folder."""
    return f"trials/{number:04d}/attempt-{attempt}"


def inside(folder: Path, relative: str) -> Path:
    """Return the path in a study's folder of `relative`, which comes from the storage.

    Raises:
        ConfigError: The path is outside the folder.

    """
    path = folder / relative
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder)):
        fix = "Something else has written to it."
        raise ConfigError(
            Problem("study", f"its storage must name files in {folder}", relative, fix)
        )
    return path


def where_is(folder: Path) -> str:
    """Return a folder with its host, e.g. `host:/folder`."""
    return f"{socket.gethostname()}:{folder.resolve()}"


def make_folder(folder: Path, study_id: str, before: Path | None) -> bool:
    """Make an attempt's folder; return whether it has the previous attempt's files.

    An existing folder belongs to another study, whose storage is gone, and is deleted: its
    checkpoint must not be mistaken for this trial's. For the same reason the files of `before` are
    only taken over if it names this study. Both attempts share them until this one replaces them.
    The attempt's configuration, which is written next, puts the names on the disk.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    has_files = before is not None and _identity(before) == study_id
    if has_files:
        assert before is not None
        for path in before.iterdir():
            if path.is_file() and not path.name.startswith("."):
                share(path, folder / path.name)
    write_json(folder / IDENTITY_FILE, {"study": study_id}, waits_for_name=False)
    return has_files


def tidy(last: Path, *, keep_best: bool) -> None:
    """Delete the files that an ended trial no longer needs, from the folders of all its attempts.

    Args:
        last: The folder of its last attempt.
        keep_best: Keep the weights and the observations of its best validation.

    """
    for path in last.parent.glob("*/*"):
        is_best = path.name in (BEST_FILE, OBSERVED_FILE)
        is_kept = keep_best and path.parent == last
        if path.match(CHECKPOINT_PARTS) or (is_best and not is_kept):
            path.unlink(missing_ok=True)


def _identity(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))["study"])
    except (OSError, ValueError, KeyError):
        return None
