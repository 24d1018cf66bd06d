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

    def judges(self, number: int) -> bool:
        rung = self.first_rung
        while rung < number:
            rung *= self.reduction_factor
        return rung == number

    def verdict(self, value: float, rivals: Sequence[float]) -> str | None:
        num_here = len(rivals) + 1
        rank = 1 + sum(rival > value for rival in rivals)
        return f"ranked {rank} of {num_here}" if rank > self._num_promoted(num_here) else None

    def consequence(self, num_here: int) -> str:
        num = self._num_promoted(num_here)
        return f"; only the top {'1 continues' if num == 1 else f'{num} continue'}"

    def _num_promoted(self, num_here: int) -> int:
        return max(1, num_here // self.reduction_factor)
