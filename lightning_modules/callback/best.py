"""What is kept of the best validation: the trained weights, and what the task observed.

A file each. The observations are put in place first, so whoever finds weights finds both. A
process killed between the two leaves files of different validations, which a resumed run
replaces by those of its checkpoint.
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
    """The best validation's tensors.

    Attributes:
        weights: The trained parameters by name.
        observed: What the task observed, in the order of the validation rows.

    """

    weights: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]


def save_best(folder: Path, best: Best) -> None:
    """Put the best validation's files in place."""
    for name, tensors in ((OBSERVED_FILE, best.observed), (BEST_FILE, best.weights)):
        with replacing(folder / name, num_bytes_of(tensors)) as draft:
            save_file(dict(tensors), draft)


def load_best(folder: Path) -> Best | None:
    """Return what `save_best` kept; None where it kept nothing."""
    if not (folder / BEST_FILE).is_file():
        return None
    return Best(load_file(folder / BEST_FILE), load_observed(folder))


def load_observed(folder: Path) -> dict[str, Tensor]:
    """Return what the task observed at the best validation, in the order of the rows."""
    observed: dict[str, Tensor] = load_file(folder / OBSERVED_FILE)
    return observed


def drop_best(folder: Path) -> None:
    """Remove what `save_best` kept, weights first."""
    (folder / BEST_FILE).unlink(missing_ok=True)
    (folder / OBSERVED_FILE).unlink(missing_ok=True)
