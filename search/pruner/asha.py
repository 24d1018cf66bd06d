"""Asynchronous successive halving (ASHA): at each rung only the best 1 / eta continue.

Rungs lie at the validations first_rung * eta^k. A trial that reaches a rung continues
if it is among the best max(1, floor(n / eta)) of the n trials that have reached it.

Paper: Li et al. 2020, arXiv:1810.05934 (reduction_factor = eta, first_rung = r).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem
from search.pruner.base import ComparingPruner


@dataclass(frozen=True, kw_only=True)
class Asha(ComparingPruner):
    """ASHA.

    Attributes:
        first_rung: The first validation after which a trial can end, > 0.
        reduction_factor: eta, > 1; one in eta trials continues.

    """

    first_rung: int
    reduction_factor: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.first_rung < 1:
            yield Problem("first_rung", "must be >= 1", self.first_rung)
        if self.reduction_factor < 2:
            yield Problem("reduction_factor", "must be >= 2", self.reduction_factor)

    def verdict(self, value: float, rivals: Sequence[float], number: int) -> str | None:
        if not self._is_rung(number):
            return None
        num_here = len(rivals) + 1
        num_promoted = max(1, num_here // self.reduction_factor)
        rank = 1 + sum(rival > value for rival in rivals)
        if rank <= num_promoted:
            return None
        promoted = "1 continues" if num_promoted == 1 else f"{num_promoted} continue"
        return f"ranked {rank} of {num_here} after validation {number}; only the top {promoted}"

    def _is_rung(self, number: int) -> bool:
        rung = self.first_rung
        while rung < number:
            rung *= self.reduction_factor
        return rung == number
