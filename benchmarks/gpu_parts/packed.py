"""A prototype: K LoRA trials on one frozen base, trained in one pass.

The trials lie side by side along the batch. Each linear layer y = W x becomes, for the rows of
trial k, y = W x + (alpha / rank) B_k A_k x, so the base's matmul is shared and the adapters are two
batched ones. The trials' losses are summed: no parameter is in two of them, so each gradient is
that of the trial alone.

Shapes: K trials, B rows per trial, T tokens, D width, R rank.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import torch
from gpu_parts.call import Call, report, require
from gpu_parts.llama import random_ids, write_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

RANK = 8
SCALE = 2.0  # alpha / rank, as in conf/strategy/lora.yaml
NUM_COMPARED = 3
MAX_DIFFERENCE = 1e-3


class PackedLinear(nn.Module):
    """A frozen linear layer with one adapter per trial; inputs and outputs are (K * B, T, D)."""

    def __init__(self, linear: nn.Linear, num_trials: int) -> None:
        super().__init__()
        device = linear.weight.device
        self.linear = linear
        self.num_trials = num_trials
        down = torch.randn(num_trials, linear.in_features, RANK, device=device)
        self.down_KDR = nn.Parameter(down / linear.in_features**0.5)
        self.up_KRD = nn.Parameter(
            torch.zeros(num_trials, RANK, linear.out_features, device=device)
        )

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.reshape(self.num_trials, -1, x.shape[-1])
        low = torch.bmm(grouped, self.down_KDR.to(x.dtype))
        update = torch.bmm(low, self.up_KRD.to(x.dtype))
        return self.linear(x) + SCALE * update.reshape(*x.shape[:-1], -1)


def packed_lora(call: Call) -> None:
    """Compare each trial's gradients with those of the trial alone; measure 1 to 8 trials."""
    num_rows, num_tokens = (2, 32) if call.on_cpu else (8, 256)
    compare_gradients(call, num_rows, num_tokens)
    base = load_base(call, torch.float32 if call.on_cpu else torch.bfloat16)
    for num_trials in (1, 2) if call.on_cpu else (1, 2, 4, 8):
        measure_steps(call, base, num_trials, num_rows, num_tokens)


def compare_gradients(call: Call, num_rows: int, num_tokens: int) -> None:
    """Compare packed gradients with unpacked ones, in fp32 on the first two layers."""
    base = load_base(call, torch.float32)
    base.model.layers = base.model.layers[:2]
    together = packed(base, NUM_COMPARED)
    torch.manual_seed(1)
    ids = random_ids(NUM_COMPARED * num_rows, num_tokens, call.device)
    for layer in packed_layers(together):
        nn.init.normal_(layer.up_KRD, std=0.02)  # at 0, `down` would have no gradient
    trial_losses(together, ids, NUM_COMPARED).sum().backward()
    worst, smallest = 0.0, float("inf")
    for trial in range(NUM_COMPARED):
        alone = packed(base, 1)
        copy_adapters(together, alone, trial)
        rows = ids[trial * num_rows : (trial + 1) * num_rows]
        trial_losses(alone, rows, 1).sum().backward()
        for expected, got in gradient_pairs(alone, together, trial):
            largest = float(expected.abs().max())
            smallest = min(smallest, largest)
            worst = max(worst, float((expected - got).abs().max()) / max(largest, 1e-12))
    is_equal = worst < MAX_DIFFERENCE and smallest > 0
    report(
        kind="packed gradients",
        equal=is_equal,
        worst_relative_difference=worst,
        smallest_gradient=smallest,
    )
    require(is_equal, "a packed trial's gradients must equal those of the trial alone")


def measure_steps(
    call: Call, base: nn.Module, num_trials: int, num_rows: int, num_tokens: int
) -> None:
    """Measure the steps of `num_trials` trials together."""
    network = packed(base, num_trials)
    trained = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=not call.on_cpu)
    ids = random_ids(num_trials * num_rows, num_tokens, call.device)
    num_skipped, num_steps = (1, 2) if call.on_cpu else (3, 12)
    began = 0.0
    for step in range(num_skipped + num_steps):
        if step == num_skipped:
            began = now(call)
        trial_losses(network, ids, num_trials).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds_per_step = (now(call) - began) / num_steps
    report(
        kind="packed steps",
        num_trials=num_trials,
        rows_per_trial=num_rows,
        num_tokens=num_tokens,
        ms_per_step=round(1000 * seconds_per_step, 1),
        tokens_per_second_of_all=round(num_trials * num_rows * num_tokens / seconds_per_step),
    )


def load_base(call: Call, dtype: torch.dtype) -> nn.Module:
    """Return the frozen model."""
    model = AutoModelForCausalLM.from_pretrained(write_model(call), dtype=dtype)
    return model.to(call.device).requires_grad_(False)


def packed(base: nn.Module, num_trials: int) -> nn.Module:
    """Return a copy whose linear layers, except the last, have adapters for each trial."""
    network = copy.deepcopy(base)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
            network.set_submodule(name, PackedLinear(module, num_trials))
    return network


def packed_layers(network: nn.Module) -> list[PackedLinear]:
    """Return the layers with adapters, in order."""
    return [module for module in network.modules() if isinstance(module, PackedLinear)]


def copy_adapters(together: nn.Module, alone: nn.Module, trial: int) -> None:
    """Give a network of one trial the adapters that the trial has in the pack."""
    for source, target in zip(packed_layers(together), packed_layers(alone), strict=True):
        target.down_KDR.data.copy_(source.down_KDR.data[trial : trial + 1])
        target.up_KRD.data.copy_(source.up_KRD.data[trial : trial + 1])


def gradient_pairs(
    alone: nn.Module, together: nn.Module, trial: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each gradient of the trial alone, with the trial's gradient in the pack."""
    for one, many in zip(packed_layers(alone), packed_layers(together), strict=True):
        yield one.down_KDR.grad[0], many.down_KDR.grad[trial]
        yield one.up_KRD.grad[0], many.up_KRD.grad[trial]


def trial_losses(network: nn.Module, ids: Tensor, num_trials: int) -> Tensor:
    """Return the mean loss of each trial; `ids` are (K * B, T), trial by trial."""
    logits = network(input_ids=ids, use_cache=False).logits[:, :-1].float()
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return losses.view(num_trials, -1).mean(1)


def now(call: Call) -> float:
    """Return the time when the device has done all that it was given."""
    if not call.on_cpu:
        torch.cuda.synchronize()
    return time.monotonic()
