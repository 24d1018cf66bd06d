"""Training in fp16: the loss is scaled, so that small gradients do not become 0.

    g = grad(s L) / s,  s <- s / 2 if g overflows (that step is skipped), 2 s after 2,000 steps else

Paper: Micikevicius et al. 2018, arXiv:1710.03740. The scale s starts at 2^16 and is part of a
checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_modules.machine.lightning import MixedPrecision

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer as TorchOptimizer


class Scaled(MixedPrecision):
    """Lightning's fp16, whose scaler serves a loop that calls backward passes and steps itself."""

    def __init__(self, device: str) -> None:
        super().__init__("16-mixed", device)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss of which the backward pass is to be computed."""
        assert self.scaler is not None
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: TorchOptimizer) -> None:
        """Divide the gradients of the scaled loss by the scale, in place: before they are clipped.

        A fused optimizer would do that in its step.
        """
        assert self.scaler is not None
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: TorchOptimizer) -> None:
        """Step, unless a gradient is NaN or infinite, and update the scale."""
        assert self.scaler is not None
        self.scaler.step(optimizer)
        self.scaler.update()
