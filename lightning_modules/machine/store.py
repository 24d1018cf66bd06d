"""Data sets that are built once and stored in a disk cache shared by several processes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.machine.file import DiskFull, draft_of, raising_disk_full

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def cache_folder() -> Path:
    """Return `$FINESWEEP_CACHE`, or finesweep's folder in the user's cache folder."""
    chosen = os.environ.get("FINESWEEP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "finesweep"


def save_once(dataset: Dataset | DatasetDict, folder: Path) -> None:
    """Save to `folder`, completely or not at all; if several workers do, the first one's stays."""
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
