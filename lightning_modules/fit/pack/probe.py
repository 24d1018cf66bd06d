"""Whether runs gain by sharing passes: measured in their first passes, which also are compared.

Each of these passes is done twice: by the packed network, and by the run's own, whose gradients
count. If the two differ, this network mixes the rows of a batch, and the runs cannot share passes.
They should not if it takes longer: on a CPU long batches fill the cores alone.

Cost: the packed passes of NUM_ROUNDS micro-batches of each run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_modules.batch.passes import Alone, Pass
from lightning_modules.fit.pack.draws import Draws
from lightning_modules.fit.pack.network import PackedNetwork

NUM_ROUNDS = 4
"""The first of them is not measured."""
MIN_GAIN = 1.05
"""How many times as fast shared passes must be: less than this is noise."""
MAX_DIFFERENCE = 0.1
"""The largest relative difference of the gradients of all runs. Rounding in bf16 makes one of 0.01;
another row's text makes one of about 1."""


class Probe:
    """Measures the first passes of a pack.

    Args:
        must_pay: Whether to measure if it pays; otherwise the first passes are only compared.

    Attributes:
        gain: How many times as fast shared passes are; None before it is known.
        refusal: Why the runs should not share passes; None if they should.

    """

    def __init__(self, *, must_pay: bool) -> None:
        self.gain: float | None = None
        self.refusal: str | None = None
        self._left = NUM_ROUNDS if must_pay else 1
        self._must_pay = must_pay
        self._seconds = [0.0, 0.0]  # alone, together

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to measure."""
        return not self._left

    def run(
        self, packed: PackedNetwork, passes: Sequence[Pass], draws: Sequence[Draws]
    ) -> list[Tensor]:
        """Do what `PackedNetwork.run` does, in both ways."""
        trained = [p for each in passes for p in each.network.parameters() if p.requires_grad]
        before = _taken(trained)
        states = [each.state for each in draws]
        began = _now(trained[0])
        try:
            packed.run(passes, draws)
        finally:
            together, ended = _taken(trained), _now(trained[0])
            for each, state in zip(draws, states, strict=True):
                each.state = state
            _give(trained, before)
        before = _taken(trained)
        losses = [_alone(each, own) for each, own in zip(passes, draws, strict=True)]
        self._note(ended - began, _now(trained[0]) - ended)
        difference = _difference(together, [each.grad for each in trained])
        if difference > MAX_DIFFERENCE:
            self.refusal = f"in this network they change one another, by {difference:.0%}"
        for parameter, gradient in zip(trained, before, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else gradient + parameter.grad
        return losses

    def _note(self, together: float, alone: float) -> None:
        is_warm = self._left < NUM_ROUNDS
        self._left -= 1
        if not self._must_pay or not is_warm:
            return
        self._seconds[0] += alone
        self._seconds[1] += together
        if self.is_done:
            self.gain = self._seconds[0] / self._seconds[1]
            if self.gain < MIN_GAIN:
                self.refusal = f"their passes take {1 / self.gain:.2f} times as long together"


def _alone(each: Pass, draws: Draws) -> Tensor:
    with draws.drawing():
        return Alone().run(each)


def _taken(parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients, and leave none."""
    gradients = [each.grad for each in parameters]
    for each in parameters:
        each.grad = None
    return gradients


def _give(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for each, gradient in zip(parameters, gradients, strict=True):
        each.grad = gradient


def _difference(found: Sequence[Tensor | None], wanted: Sequence[Tensor | None]) -> float:
    """Return the norm of the difference relative to that of `wanted`; 0 if this is not finite."""
    pairs = [(a, b) for a, b in zip(found, wanted, strict=True) if a is not None and b is not None]
    if len(pairs) < sum(each is not None for each in wanted):
        return math.inf
    difference = sum(float((a - b).double().square().sum()) for a, b in pairs)
    size = sum(float(b.double().square().sum()) for _, b in pairs)
    return math.sqrt(difference / size) if size and math.isfinite(size) else 0.0


def _now(like: Tensor) -> float:
    """Return the time when the device has done all that it was given.

    On a CPU it is the time of its cores alone, which other processes use too.
    """
    if like.device.type == "cpu":
        return time.process_time()
    if like.device.type == "cuda":
        torch.cuda.synchronize(like.device)
    return time.monotonic()
