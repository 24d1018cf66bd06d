"""The passes of a run's steps through its network: alone, or together with those of other runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_modules.seed import seed_device

if TYPE_CHECKING:
    from lightning_modules.batch.micro import Limit


@dataclass(frozen=True)
class Pass:
    """A forward and backward pass over one micro-batch.

    Attributes:
        network: The run's network.
        inputs: What it is called with.
        loss: Returns the loss, given the network or what stands for it and answers these inputs.
        scaled: Scales the loss for the backward pass.
        before_backward: Called between the two passes.

    """

    network: nn.Module
    inputs: Mapping[str, Tensor]
    loss: Callable[[Any], Tensor]
    scaled: Callable[[Tensor], Tensor]
    before_backward: Callable[[], None]


class Alone:
    """The passes of a run that shares them with no other."""

    def now(self) -> float:
        """Return the run's time in seconds, from any start."""
        return time.monotonic()

    def seed(self, device: torch.device, seed: int) -> None:
        """Seed the dropout of the passes that follow."""
        seed_device(device, seed)

    def share(self, limit: Limit) -> Limit:
        """Return the run's part of what passes at once."""
        return limit

    def run(self, each: Pass) -> Tensor:
        """Add the gradients of a micro-batch to those of the network; return its loss."""
        loss = each.loss(each.network)
        each.before_backward()
        # Not Lightning's `manual_backward`, nor its wrapper of the optimizer: here they only
        # call the hooks of all callbacks, for as long as a small network's passes take.
        torch.autograd.backward(each.scaled(loss))
        return loss.detach()
