"""Lightning, without the parts of torchmetrics that it does not use.

Import `pl` from here, not `pytorch_lightning`: then all of torchmetrics stays unimported, and a
trainer looks for callbacks that other packages declare only if packages were installed since the
last one did.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning_modules.machine.deferred import defer_torchmetrics

defer_torchmetrics()

import pytorch_lightning as pl  # noqa: E402
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from lightning_fabric.utilities import registry  # noqa: E402
from pytorch_lightning.plugins import MixedPrecision, Precision  # noqa: E402

__all__ = ["MixedPrecision", "Precision", "SLURMEnvironment", "pl"]


def _entry_points(**selection: Any) -> Any:
    """Return the same as `importlib.metadata.entry_points`, some 20 ms of a core faster."""
    return _read(tuple(map(_state, sys.path)), **selection)


@lru_cache(maxsize=8)
def _read(installed: tuple[Any, ...], **selection: Any) -> Any:
    return metadata.entry_points(**selection)


def _state(folder: str) -> tuple[str, int | None]:
    """Return a folder of packages, and when one was installed there or removed."""
    try:
        return folder, Path(folder).stat().st_mtime_ns
    except OSError:
        return folder, None


# Every trainer calls it. If a version of Lightning calls it by another name, that is only slower.
vars(registry)["entry_points"] = _entry_points
