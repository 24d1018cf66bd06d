"""The peak memory of a run includes what a step holds until its backward pass."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_modules.machine.memory import free_memory
from lightning_modules.strategy.base import Strategy
from tests.training import tiny_run, train

HELD_BYTES = 2**28


class Holding(torch.autograd.Function):
    """The identity, which keeps memory until its backward pass."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(torch.ones(HELD_BYTES // 4))
        return values.clone()

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return gradients[0]


@dataclass(frozen=True, kw_only=True)
class Hungry(Strategy):
    """Full training of a network whose step holds much memory."""

    def adapt(self, network: Any) -> Any:
        def hold(module: Any, inputs: Any, output: Any) -> Any:
            output.logits = Holding.apply(output.logits)  # type: ignore[no-untyped-call]
            return output

        network.register_forward_hook(hold)
        return network


def test_what_a_step_holds_until_its_backward_pass_counts(learnable: Path, here: Path) -> None:
    run = tiny_run(learnable, "trainer.max_steps=1")
    # What earlier tests left is returned now, not between the two runs.
    free_memory()
    plain = train(run, here / "plain")
    values = {each.name: getattr(run.strategy, each.name) for each in fields(Strategy)}
    hungry = train(replace(run, strategy=Hungry(**values)), here / "hungry")
    assert plain.memory_bytes is not None and hungry.memory_bytes is not None
    assert hungry.memory_bytes - plain.memory_bytes > 0.8 * HELD_BYTES
