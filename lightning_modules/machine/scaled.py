"""Training in fp16: the loss is scaled, so that small gradients do not become 0.

    g = grad(s L) / s,  s <- s / 2 if g overflows (that step is skipped), 2 s after 2,000 steps else

Paper: Micikevicius et al. 2018, arXiv:1710.03740. The scale s starts at 2^16 and is part of a
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightning_modules.machine.lightning import MixedPrecision

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer

    from lightning_modules.machine.lightning import pl


class Scaled(MixedPrecision):
    """Lightning's fp16, in which the caller unscales the gradients, and may clip them, first.

    Lightning leaves unscaling to the steps of optimizers that can, e.g. a fused AdamW.
    """

    def __init__(self, device: str) -> None:
        super().__init__("16-mixed", device)

    def unscale(self, optimizer: TorchOptimizer) -> None:
        """Divide the gradients of the scaled loss by the scale, in place."""
        assert self.scaler is not None
        self.scaler.unscale_(optimizer)

    def optimizer_step(  # type: ignore[override]
        self,
        optimizer: TorchOptimizer,
        model: pl.LightningModule,
        closure: Callable[[], Any],
        **kwargs: Any,
    ) -> Any:
        """Step, unless a gradient is NaN or infinite, and update the scale."""
        assert self.scaler is not None
        closure()
        output = self.scaler.step(optimizer, **kwargs)
        self.scaler.update()
        return output
