"""A batch: tensors by name, with one entry per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Batch = Mapping[str, "Tensor"]

IGNORED = -100
"""The label of a token that is not a target."""
