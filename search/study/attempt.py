"""An attempt: one try at a trial, in a folder of its own, from where the one before it was."""

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
from lightning_modules.folder import BEST_FILE, CHECKPOINT_FILES, OBSERVED_FILE
from lightning_modules.machine.file import write_json

CONFIG_FILE = "config.yaml"
IDENTITY_FILE = "attempt.json"


@dataclass(frozen=True)
class Attempt:
    """One try at a trial.

    Attributes:
        number: The trial's number, the same over all attempts.
        trial_id: What the storage knows the trial by.
        attempt: 1 for the first.
        values: What the trial varies, by config path.
        folder: Where the attempt's files go.
        micro_batch_size: To begin with, where the configured one ran out of memory, or None.
        notes: What a person should read about how it begins.

    """

    number: int
    trial_id: int
    attempt: int
    values: Mapping[str, Any]
    folder: Path
    micro_batch_size: int | None = None
    notes: tuple[str, ...] = ()


def relative_folder(number: int, attempt: int) -> str:
    """Return where an attempt's files go, in its study's folder."""
    return f"trials/{number:04d}/attempt-{attempt}"


def inside(folder: Path, relative: str) -> Path:
    """Return the path of `relative`, which a storage gave, in a study's folder.

    Raises:
        ConfigError: It leads out of the folder.

    """
    path = folder / relative
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder)):
        fix = "Something else has written to it."
        raise ConfigError(
            Problem("study", f"its storage must name files in {folder}", relative, fix)
        )
    return path


def where_is(folder: Path) -> str:
    """Return a folder as other machines may know it."""
    return f"{socket.gethostname()}:{folder.resolve()}"


def make_folder(folder: Path, study_id: str, before: Path | None) -> bool:
    """Make an attempt's folder anew; say whether the files of the attempt before are in it.

    What lies there is of another study, whose storage is gone: its checkpoint must not be taken
    for this trial's. The same holds for `before`, so it has to name this study.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    taken_over = before is not None and _identity(before) == study_id
    if taken_over:
        assert before is not None
        for path in before.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy2(path, folder / path.name)
    write_json(folder / IDENTITY_FILE, {"study": study_id})
    return taken_over


def tidy(last: Path, *, keep_best: bool) -> None:
    """Delete what an ended trial needs no more, in the folders of all its attempts.

    Args:
        last: The folder of its last attempt.
        keep_best: Keep the weights of its best validation, and what was observed there.

    """
    for path in last.parent.glob("*/*"):
        is_best = path.name in (BEST_FILE, OBSERVED_FILE)
        is_kept = keep_best and path.parent == last
        if path.name in CHECKPOINT_FILES or (is_best and not is_kept):
            path.unlink(missing_ok=True)


def _identity(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))["study"])
    except (OSError, ValueError, KeyError):
        return None
