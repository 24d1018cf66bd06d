"""Data sets that are built once and stored in a disk cache shared by several processes."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.file import DiskFull, draft_of, raising_disk_full
from lightning_modules.machine.path import typed_path
from lightning_modules.machine.writable import check_writable

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

VARIABLE = "FINESWEEP_CACHE"
TOKENIZED, FEATURES, ROWS, HUB = "tokenized", "features", "rows", "hub"
"""The parts of the cache."""
BOUNDED = (TOKENIZED, FEATURES, ROWS)
"""The parts that can be made again without a network, and share `max_bytes`."""
LIMIT = "FINESWEEP_CACHE_GB"
DEFAULT_GB = 20.0


def cache_folder() -> Path:
    """Return `$FINESWEEP_CACHE`, or finesweep's folder in the user's cache folder.

    Raises:
        ConfigError: Neither is named, and the user has no home folder.

    """
    if chosen := os.environ.get(VARIABLE):
        return typed_path(chosen)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache, "finesweep")
    try:
        return Path.home() / ".cache" / "finesweep"
    except RuntimeError:  # e.g. in a container, under a user ID without an entry
        rule = "must be set if the user has no home folder"
        raise ConfigError(Problem(VARIABLE, rule, Verbatim("nothing"), _FIX)) from None


def max_bytes() -> int:
    """Return how many bytes the bounded parts may take together: `$FINESWEEP_CACHE_GB`.

    Raises:
        ConfigError: It is not a number >= 0.

    """
    chosen = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        limit = float(chosen)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        fix = f"Set {LIMIT}={DEFAULT_GB:g}."
        raise ConfigError(Problem(LIMIT, "must be a number of gigabytes >= 0", chosen, fix))
    return int(limit * 1e9)


def check_cache(part: str) -> None:
    """Raise ConfigError if a part of the cache cannot be written, and a run needs it."""
    folder = cache_folder()
    if part not in BOUNDED:
        check_writable(folder, VARIABLE, _FIX)
        check_writable(folder / part, VARIABLE, _FIX)
        return
    max_bytes()
    # A folder that is there, e.g. on a disk that others fill, is read. One that is named, and
    # cannot be made, is a mistake.
    if VARIABLE in os.environ and not folder.is_dir():
        check_writable(folder, VARIABLE, _FIX)


_FIX = f"Set {VARIABLE}=DIR to a folder that can be written."


def save_once(dataset: Dataset | DatasetDict, folder: Path) -> None:
    """Save to `folder`, completely or not at all; if several workers do, the first one's stays.

    Raises:
        ConfigError: The folder, a part of the cache, cannot be written.
        DiskFull: There is no space left for it.

    """
    check_writable(folder, VARIABLE, _FIX)
    draft = draft_of(folder)
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        with raising_disk_full(folder):
            dataset.save_to_disk(str(draft))
        draft.rename(folder)
    except DiskFull:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    except OSError:
        shutil.rmtree(draft)
        if not folder.is_dir():
            raise
