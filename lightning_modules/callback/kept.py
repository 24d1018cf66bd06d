"""The best validation's files that checkpoints need, which they share with the run.

A better validation replaces the files of the one before. So a checkpoint gives those of its own
best validation another name, e.g. `checkpoint.best-120.safetensors` for step 120. That is a hard
link: it takes no space while the run or another checkpoint has the same file.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.folder import BEST_FILE, OBSERVED_FILE
from lightning_modules.machine.file import share

_NAMES = {
    BEST_FILE: "checkpoint.best-{}.safetensors",
    OBSERVED_FILE: "checkpoint.observed-{}.safetensors",
}


@dataclass(frozen=True)
class Kept:
    """The files of a best validation.

    Attributes:
        step: Its optimizer step.
        digests: The sha256 of each file, by the name that the run gives it.

    """

    step: int
    digests: Mapping[str, str]

    def file(self, name: str) -> str:
        """Return the name that checkpoints give a file of the run.

        >>> Kept(120, {}).file("best.safetensors")
        'checkpoint.best-120.safetensors'
        """
        return _NAMES[name].format(self.step)

    def problem(self, folder: Path) -> str | None:
        """Return what is wrong with the files in words; None if they are as they were written."""
        for name, digest in self.digests.items():
            path = folder / self.file(name)
            if not path.is_file():
                return f"{path.name} is missing"
            try:
                is_intact = _digest(path) == digest
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return f"the disk cannot read {path.name}"
            if not is_intact:
                return f"the content of {path.name} does not match its sha256"
        return None


def keep(folder: Path, step: int) -> Kept:
    """Give the run's best validation, which was after `step`, the names for checkpoints.

    Raises:
        DiskFull: There is no space for them.

    """
    kept = Kept(step, {name: _digest(folder / name) for name in _NAMES})
    for name in _NAMES:
        share(folder / name, folder / kept.file(name))
    return kept


def restore(folder: Path, kept: Kept) -> None:
    """Make a checkpoint's best validation the run's; raise DiskFull like `keep`."""
    for name in (OBSERVED_FILE, BEST_FILE):  # in the order of `best`
        share(folder / kept.file(name), folder / name)


def drop_others(folder: Path, kept: Collection[Kept | None]) -> None:
    """Delete the files that only older checkpoints needed."""
    needed = {each.file(name) for each in kept if each is not None for name in _NAMES}
    for pattern in _NAMES.values():
        for path in folder.glob(pattern.format("*")):
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
