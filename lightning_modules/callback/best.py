"""The files kept from the best validation: the trained weights, and the task's observations.

The observations are written first, so if the weights exist, both files do. A process killed
between the two leaves files from different validations, which a resumed run replaces with those
in its checkpoint.

A run that continues takes the best validation of its checkpoint, so between two checkpoints nobody
needs the files. Small tensors stay in memory until a checkpoint or the end of the run, because to
sync two files takes longer than a short epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from lightning_modules.folder import BEST_FILE, OBSERVED_FILE
from lightning_modules.machine.disk import write_when_free
from lightning_modules.machine.file import replacing
from lightning_modules.model.state import num_bytes_of

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.hooks import Hooks


MAX_HELD_BYTES = 2**25
"""How much a run keeps in memory until its next checkpoint."""


@dataclass(frozen=True)
class Best:
    """The tensors kept from the best validation.

    Attributes:
        weights: The trained parameters by name.
        observed: The task's observations, in the order of the validation rows.

    """

    weights: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]


def save_best(folder: Path, best: Best) -> None:
    """Write the best validation's files, each atomically.

    A checkpoint or an outcome follows, which puts their names on the disk, too.
    """
    for name, tensors in ((OBSERVED_FILE, best.observed), (BEST_FILE, best.weights)):
        with replacing(folder / name, num_bytes_of(tensors), waits_for_name=False) as draft:
            save_file(dict(tensors), draft)


class BestFiles:
    """Writes the best validation's files when they are needed.

    Attributes:
        folder: The run's folder.

    """

    def __init__(self, folder: Path, hooks: Hooks) -> None:
        self.folder = folder
        self._hooks = hooks
        self._held: Best | None = None

    def put(self, best: Best) -> None:
        """Take a new best validation, and write it at once if it is large."""
        self._held = best
        if num_bytes_of(best.weights) + num_bytes_of(best.observed) > MAX_HELD_BYTES:
            self.write()

    def write(self) -> None:
        """Write what was put and is not yet written; wait for space if the disk is full."""
        write_when_free(self._hooks, self.write_now)

    def write_now(self) -> None:
        """Write it; raise DiskFull, and keep it in memory, if there is no space."""
        if self._held is not None:
            save_best(self.folder, self._held)
            self._held = None


def load_best(folder: Path) -> Best | None:
    """Return what `save_best` wrote; None if there is none."""
    if not (folder / BEST_FILE).is_file():
        return None
    return Best(load_file(folder / BEST_FILE), load_observed(folder))


def load_observed(folder: Path) -> dict[str, Tensor]:
    """Return the task's observations at the best validation, in the order of the rows."""
    observed: dict[str, Tensor] = load_file(folder / OBSERVED_FILE)
    return observed


def drop_best(folder: Path) -> None:
    """Delete what `save_best` wrote, weights first."""
    (folder / BEST_FILE).unlink(missing_ok=True)
    (folder / OBSERVED_FILE).unlink(missing_ok=True)
