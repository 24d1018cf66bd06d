"""The files kept from the best validation: the trained weights, and the task's observations.

The observations are written first, so if the weights exist, both files do. A process killed
between the two leaves files from different validations, which a resumed run replaces with those
in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from lightning_modules.folder import BEST_FILE, OBSERVED_FILE
from lightning_modules.machine.file import replacing
from lightning_modules.model.state import num_bytes_of

if TYPE_CHECKING:
    from torch import Tensor


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
    """Write the best validation's files, each atomically."""
    for name, tensors in ((OBSERVED_FILE, best.observed), (BEST_FILE, best.weights)):
        with replacing(folder / name, num_bytes_of(tensors)) as draft:
            save_file(dict(tensors), draft)


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
