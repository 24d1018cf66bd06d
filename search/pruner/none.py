"""No pruning: every trial runs to its end."""

from __future__ import annotations

from dataclasses import dataclass

from search.pruner.base import Pruner


@dataclass(frozen=True, kw_only=True)
class NoPruner(Pruner):
    """No pruning."""
