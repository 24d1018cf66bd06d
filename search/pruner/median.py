"""The median rule: end a trial that is worse than half of the others at the same point.

Paper: Golovin et al. 2017 (Google Vizier), section 3.2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from search.pruner.base import RankingPruner


@dataclass(frozen=True, kw_only=True)
class Median(RankingPruner):
    """The median rule."""

    def verdict(self, value: float, rivals: Sequence[float]) -> str | None:
        if not rivals or value >= median(rivals):
            return None
        return f"below the median of {len(rivals)} trials"
