"""Lightning, without the parts of torchmetrics that it does not use.

Import `pl` from here, not `pytorch_lightning`: then all of torchmetrics stays unimported.
"""

from __future__ import annotations

from lightning_modules.machine.deferred import defer_torchmetrics

defer_torchmetrics()

import pytorch_lightning as pl  # noqa: E402
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: E402
from pytorch_lightning.plugins import MixedPrecision, Precision  # noqa: E402

__all__ = ["MixedPrecision", "Precision", "SLURMEnvironment", "pl"]
