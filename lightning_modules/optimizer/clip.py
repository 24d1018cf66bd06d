"""Limit the norm of a step's gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer as TorchOptimizer


def clip_gradients(optimizer: TorchOptimizer, max_norm: float | None) -> Tensor:
    """Scale all gradients down to the norm `max_norm`; return their norm before.

    The norm is a scalar on their device, for which nothing waits here.
    """
    import torch

    trained = [each for group in optimizer.param_groups for each in group["params"]]
    if max_norm is None:
        gradients = [each.grad for each in trained if each.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)
    return torch.nn.utils.clip_grad_norm_(trained, max_norm)
