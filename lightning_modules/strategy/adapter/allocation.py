"""How AdaLoRA allocates ranks: by the importance of singular triplets, within a falling budget.

With g the gradient of a value w of A, B or E, and I = |w g|:
    mean = beta1 mean + (1 - beta1) I,  deviation = beta2 deviation + (1 - beta2) |I - mean|
    score(w) = mean * deviation
and triplet i of a layer scores score(E_i) + mean_j score(A_ij) + mean_j score(B_ji).
The budget b falls with the cube of the steps left. Across all layers the best b triplets keep their
E_i and those of the others are set to 0. They can come back until the last allocation.

Paper: Zhang et al. 2023, arXiv:2303.10512, sections 3.2 and 3.3.
Cost: two values per trained value, saved with the checkpoint.

Shapes: R rank of a layer, I inputs, O outputs, N triplets in all layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

LAYER_PARTS = ("lora_A", "lora_E", "lora_B")


@dataclass(frozen=True)
class Budget:
    """The average rank per layer over the steps, and how importance is measured.

    Attributes:
        first: Average rank up to step `start`.
        last: Average rank from step `end`.
        start: The step after which ranks are removed.
        end: The step of the last allocation.
        every: Steps between two allocations.
        beta1: Decay of the mean importance.
        beta2: Decay of its mean deviation.
        orthogonality: Weight of the penalty, gamma in the paper.

    """

    first: int
    last: int
    start: int
    end: int
    every: int
    beta1: float
    beta2: float
    orthogonality: float

    def size(self, step: int, num_layers: int) -> int | None:
        """Return how many ranks all layers keep in total; None if the step allocates none.

        >>> falling = Budget(4, 2, start=1, end=5, every=2, beta1=0.9, beta2=0.9, orthogonality=0.1)
        >>> [falling.size(step, num_layers=10) for step in range(1, 7)]
        [None, 28, None, 20, 20, None]
        """
        if step == self.end:
            return self.last * num_layers
        if not self.start < step < self.end or step % self.every:
            return None
        left = 1 - (step - self.start) / (self.end - self.start)
        return int((self.first - self.last) * num_layers * left**3 + self.last * num_layers)


class Allocation(nn.Module):
    """The importance of every adapter's values so far, and which triplets are kept."""

    trains_buffers = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = {
            name: module for name, module in network.named_modules() if hasattr(module, "lora_E")
        }
        self.names = list(layers)
        for number, layer in enumerate(layers.values()):
            for part in LAYER_PARTS:
                value = getattr(layer, part)["default"]
                for kind in ("mean", "deviation"):
                    self.register_buffer(f"{kind}_{part[-1]}_{number}", torch.zeros_like(value))
            self.register_buffer(f"kept_{number}", torch.ones_like(layer.lora_E["default"]))

    def watch(self, network: nn.Module, beta1: float, beta2: float) -> None:
        """Update the importance from the current gradients."""
        for number, layer in self._layers(network):
            for part in LAYER_PARTS:
                value = layer[part]
                # A layer that the backward pass did not reach has no gradient.
                gradient = value.grad if value.grad is not None else torch.zeros_like(value)
                mean, deviation = self._averages(part, number)
                importance = (value.detach() * gradient).abs()
                # In fp16 a gradient can overflow, which skips the step and must not stay here.
                importance = torch.where(importance.isfinite(), importance, mean)
                mean.mul_(beta1).add_(importance, alpha=1 - beta1)
                deviation.mul_(beta2).add_((importance - mean).abs(), alpha=1 - beta2)

    def allocate(self, network: nn.Module, size: int) -> None:
        """Keep the `size` most important triplets across all layers."""
        scores_R = [self._scores(number) for number, _ in self._layers(network)]
        order_N = torch.cat(scores_R).argsort(descending=True, stable=True)
        kept_N = torch.zeros(len(order_N), device=order_N.device)
        kept_N[order_N[:size]] = 1.0
        parts_R = torch.split(kept_N, [len(scores) for scores in scores_R])
        for number, kept_R in enumerate(parts_R):
            self.get_buffer(f"kept_{number}").copy_(kept_R.unsqueeze(1))
        self.mask(network)

    def mask(self, network: nn.Module) -> None:
        """Set the entries of E that are not kept to 0."""
        for number, layer in self._layers(network):
            layer["lora_E"].data.mul_(self.get_buffer(f"kept_{number}"))

    def penalty(self, network: nn.Module) -> Tensor:
        """Return how far A and B are from orthogonal, on average over all layers."""
        distances = []
        for _, layer in self._layers(network):
            for square_RR in (
                layer["lora_A"] @ layer["lora_A"].T,
                layer["lora_B"].T @ layer["lora_B"],
            ):
                identity_RR = torch.eye(len(square_RR), device=square_RR.device)
                distances.append(torch.linalg.matrix_norm(square_RR - identity_RR))
        return torch.stack(distances).mean()

    def _layers(self, network: nn.Module) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, name in enumerate(self.names):
            layer: Any = network.get_submodule(name)
            yield number, {part: getattr(layer, part)["default"] for part in LAYER_PARTS}

    def _averages(self, part: str, number: int) -> tuple[Tensor, Tensor]:
        mean = self.get_buffer(f"mean_{part[-1]}_{number}")
        return mean, self.get_buffer(f"deviation_{part[-1]}_{number}")

    def _scores(self, number: int) -> Tensor:
        a_RI, e_R1, b_OR = (
            mean * deviation
            for mean, deviation in (self._averages(part, number) for part in LAYER_PARTS)
        )
        return e_R1.squeeze(1) + a_RI.mean(dim=1) + b_OR.mean(dim=0)


@contextmanager
def allocating(network: Any, step: int, budget: Budget) -> Iterator[None]:
    """Add the penalty's gradient before optimizer step `step`, and allocate ranks after it."""
    allocation: Allocation = network.allocation
    if budget.orthogonality:
        device = next(network.parameters()).device.type
        with torch.autocast(device, enabled=False):
            torch.autograd.backward(budget.orthogonality * allocation.penalty(network))
    yield
    if step < budget.end:
        allocation.watch(network, budget.beta1, budget.beta2)
    size = budget.size(step, len(allocation.names))
    if size is not None:
        allocation.allocate(network, size)
    elif step > budget.end:
        allocation.mask(network)
