"""Asynchronous successive halving (ASHA): at each rung only the best 1 / eta continue.

A trial that reaches a rung continues if it is among the best max(1, floor(n / eta)) of the n trials
that have reached it. In the paper rungs lie at the validations first_rung * eta^k. Where trials are
compared at the same fraction of their runs, every validation is a rung unless first_rung is set:
counts would put the rungs of runs of unlike lengths at unlike fractions.

Paper: Li et al. 2020, arXiv:1810.05934 (reduction_factor = eta, first_rung = r).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_modules.error import Problem
from search.pruner.base import RankingPruner
from search.pruner.progress import Axis, Progress


@dataclass(frozen=True, kw_only=True)
class Asha(RankingPruner):
    """ASHA.

    Attributes:
        first_rung: The number of the validation of the first rung, > 0; the next ones follow by
            eta. None: every validation is a rung if trials are compared at the same fraction of
            their runs, else the first one is 1.
        reduction_factor: eta, > 1; one in eta trials continues.

    """

    first_rung: int | None
    reduction_factor: int

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.first_rung is not None and self.first_rung < 1:
            yield Problem("first_rung", "must be >= 1", self.first_rung)
        if self.reduction_factor < 2:
            yield Problem("reduction_factor", "must be >= 2", self.reduction_factor)

    def judges(self, trial: Progress, number: int) -> bool:
        knows_share = self.at_equal is Axis.fraction and trial.fraction is not None
        if self.first_rung is None and knows_share:
            return True
        rung = self.first_rung or 1
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
