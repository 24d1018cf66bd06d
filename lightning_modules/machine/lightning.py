"""Lightning, without the parts of torchmetrics that it does not use.

Import `pl` from here, not `pytorch_lightning`: then all of torchmetrics stays unimported, and only
the first trainer of a process looks for callbacks that other packages declare.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from lightning_modules.machine.deferred import defer_torchmetrics

defer_torchmetrics()

import pytorch_lightning as pl  # noqa: E402
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from lightning_fabric.utilities import registry  # noqa: E402
from pytorch_lightning.plugins import MixedPrecision, Precision  # noqa: E402

# Every trainer would read the metadata of all installed packages, some 20 ms of a core.
vars(registry)["entry_points"] = cache(entry_points)

__all__ = ["MixedPrecision", "Precision", "SLURMEnvironment", "pl"]
