"""What steps of several heads on stored features would cost together, which finesweep does not do.

    python benchmarks/heads.py [--quick]   # fewer heads, and fewer rounds

Steps of K linear heads on 1,000 stored vectors, each with its own rows, learning rate and decay:

- alone: each head's pass, clipping and fused AdamW, as a run takes them;
- shared passes: the passes are one, and each head clips and updates by itself, as LoRA trials do in
  a pack;
- batched: clipping and AdamW are one for all heads, too.

The sides alternate. Prints microseconds of a core for a step of one head (medians), without the
threads, the records and the schedules of runs, and the largest difference of the weights after the
steps in float64. Fails if one is above 1e-10.

Shapes: K heads, B rows of a step, D width of the features, C classes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from shared_parts.argument import parser_of
from torch import Tensor, nn

from lightning_modules.optimizer.clip import clip_gradients

NUM_ROWS, B, D, C = 1000, 16, 384, 2
NUM_STEPS = 96
"""Of a run, on average, in the default space on 1,000 rows."""
SIZES, QUICK_SIZES = (1, 4, 16), (4,)
NUM_ROUNDS, QUICK_ROUNDS = 5, 3
MAX_NORM, DECAY, BETA_1, BETA_2, EPS = 1.0, 0.01, 0.9, 0.999, 1e-8
MAX_DIFFERENCE = 1e-10


class Heads:
    """K heads at their start, with the features and the labels.

    Args:
        num: K.
        dtype: Of the features and the weights.

    """

    def __init__(self, num: int, dtype: torch.dtype) -> None:
        draws = torch.Generator().manual_seed(0)
        self.features = torch.randn(NUM_ROWS, D, generator=draws).to(dtype)
        self.labels = torch.randint(C, (NUM_ROWS,), generator=draws)
        self.rates = [1e-3 * (1 + number) for number in range(num)]
        weights = 0.02 * torch.randn(num, C, D, generator=draws)
        self.weights = [each.to(dtype).requires_grad_() for each in weights]
        self.biases = [torch.zeros(C, dtype=dtype).requires_grad_() for _ in range(num)]
        self.draws = [torch.Generator().manual_seed(number) for number in range(num)]

    def rows(self) -> Iterator[Tensor]:
        """Yield the rows of the next step of each head."""
        for each in self.draws:
            yield torch.randint(NUM_ROWS, (B,), generator=each)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one for each head."""
        return [
            torch.optim.AdamW(pair, lr, (BETA_1, BETA_2), EPS, DECAY, fused=True)
            for *pair, lr in zip(self.weights, self.biases, self.rates, strict=True)
        ]


def alone(heads: Heads) -> None:
    optimizers = heads.optimizers()
    for _ in range(NUM_STEPS):
        for *pair, rows, optimizer in zip(
            heads.weights, heads.biases, heads.rows(), optimizers, strict=True
        ):
            logits = nn.functional.linear(heads.features[rows], *pair)
            torch.autograd.backward(loss_of(logits, heads.labels[rows]))
            update(optimizer)


def shared_passes(heads: Heads) -> None:
    optimizers, num = heads.optimizers(), len(heads.weights)
    trained = [*heads.weights, *heads.biases]
    for _ in range(NUM_STEPS):
        rows_KB = torch.stack(list(heads.rows()))
        weights, biases = torch.stack(heads.weights), torch.stack(heads.biases)
        logits = torch.baddbmm(biases.unsqueeze(1), heads.features[rows_KB], weights.mT)
        losses = [loss_of(logits[k], heads.labels[rows_KB[k]]) for k in range(num)]
        for each, gradient in zip(trained, torch.autograd.grad(losses, trained), strict=True):
            each.grad = gradient.contiguous()  # the fused kernel takes the layout for granted
        for optimizer in optimizers:
            update(optimizer)


def batched(heads: Heads) -> None:
    with torch.no_grad():
        trained = [torch.stack(heads.weights), torch.stack(heads.biases).unsqueeze(1)]
    moments = [(torch.zeros_like(each), torch.zeros_like(each)) for each in trained]
    rates = torch.tensor(heads.rates, dtype=heads.features.dtype).view(-1, 1, 1)
    for each in trained:
        each.requires_grad_()
    weights, biases = trained
    for step in range(1, NUM_STEPS + 1):
        rows_KB = torch.stack(list(heads.rows()))
        logits = torch.baddbmm(biases, heads.features[rows_KB], weights.mT)
        loss = loss_of(logits.flatten(0, 1), heads.labels[rows_KB].flatten()) * len(rows_KB)
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            norms = sum(each.square().sum((1, 2), keepdim=True) for each in gradients) ** 0.5
            factors = (MAX_NORM / (norms + 1e-6)).clamp(max=1)
            for each, gradient, (first, second) in zip(trained, gradients, moments, strict=True):
                gradient.mul_(factors)
                each.mul_(1 - rates * DECAY)
                first.lerp_(gradient, 1 - BETA_1)
                second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
                size = (second / (1 - BETA_2**step)).sqrt_() + EPS
                each.sub_(rates / (1 - BETA_1**step) * first / size)
    with torch.no_grad():
        for k in range(len(heads.weights)):
            heads.weights[k].copy_(weights[k])
            heads.biases[k].copy_(biases[k, 0])


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="sum") / len(labels)


def update(optimizer: torch.optim.Optimizer) -> None:
    clip_gradients(optimizer, MAX_NORM)
    optimizer.step()
    optimizer.zero_grad()


SIDES: Sequence[Callable[[Heads], None]] = (alone, shared_passes, batched)


def largest_difference(num: int) -> float:
    """Return that of a weight after the steps, of any side from `alone`, in float64."""
    ended = [Heads(num, torch.float64) for _ in SIDES]
    for side, heads in zip(SIDES, ended, strict=True):
        side(heads)
    weights = [torch.cat([*map(torch.flatten, (*h.weights, *h.biases))]) for h in ended]
    return max(float((each - weights[0]).abs().max().detach()) for each in weights[1:])


def seconds_of(side: Callable[[Heads], None], num: int) -> float:
    heads = Heads(num, torch.float32)
    began = time.process_time()
    side(heads)
    return time.process_time() - began


def main() -> int:
    asked = parser_of(__doc__, "fewer heads, and fewer rounds").parse_args()
    sizes, num_rounds = (QUICK_SIZES, QUICK_ROUNDS) if asked.quick else (SIZES, NUM_ROUNDS)
    torch.set_num_threads(1)
    print("microseconds of a core for a step of one head: alone, shared passes, batched")
    worst = 0.0
    for num in sizes:
        difference = largest_difference(num)
        worst = max(worst, difference)
        rounds = [[seconds_of(side, num) for side in SIDES] for _ in range(1 + num_rounds)]
        steps = num * NUM_STEPS
        times = [1e6 * statistics.median(each) / steps for each in zip(*rounds[1:], strict=True)]
        shown = " | ".join(f"{each:5.0f}" for each in times)
        print(f"K = {num:2d}: {shown}; weights differ by {difference:.0e}", flush=True)
    return int(worst > MAX_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
