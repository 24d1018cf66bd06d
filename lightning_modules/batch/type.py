"""A batch: tensors by name, with one entry per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]

LABELS_ON_HOST = "labels_on_host"
"""The entry of a training batch with a copy of its labels that stays on the host."""
IGNORED = -100
"""The label of a token that is not a target."""
