"""LoRA trials that share their passes, against the same trials one by one.

Steps of MiniLM's LoRA on random texts, in the precision that this machine chooses: the passes of K
trials, clipping and AdamW of each. Both sides alternate. Prints milliseconds per step of all trials
(medians, on a CPU of its time alone), their ratio with the lowest and the highest of a round, and
the largest relative difference of a trial's gradients in fp32. Fails if one is above 1e-4. The
ratio is no bound: where sharing does not pay, a pack trains its trials one by one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from shared_parts.argument import parser_of
from torch import Tensor, nn

from lightning_modules.batch.passes import Alone, Pass
from lightning_modules.batch.type import Batch
from lightning_modules.cache import Cache
from lightning_modules.fit.pack.draws import Draws
from lightning_modules.fit.pack.network import PackedNetwork
from lightning_modules.machine.hardware import Hardware, Precision, choose_hardware
from lightning_modules.network import build_network
from lightning_modules.optimizer.clip import clip_gradients
from lightning_modules.run import Run
from search.config import build_run, compose

SIZES = (1, 4, 8, 16)
SHAPES = ((4, 16), (8, 32), (16, 64))
QUICK_SIZES, QUICK_SHAPES = (1, 4), ((4, 16), (16, 64))
NUM_ROUNDS, QUICK_ROUNDS = 5, 3
RANKS = (8, 8, 8, 4)
MAX_DIFFERENCE = 1e-4
LABELS = ("negative", "positive")


@dataclass
class Trial:
    """A trial with its network, its optimizer and its random numbers."""

    run: Run
    network: nn.Module
    optimizer: Any
    draws: Draws

    def step(self) -> None:
        """Clip and update, as a run does."""
        clip_gradients(self.optimizer, self.run.trainer.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()


def trials_of(num: int, hardware: Hardware, words: Sequence[str]) -> list[Trial]:
    cache, made = Cache(), []
    for number in range(num):
        rank = RANKS[number % len(RANKS)]
        own = (f"seed={number}", f"strategy.rank={rank}", f"optimizer.lr={1e-4 * (1 + number)}")
        run = build_run(compose("train", ["logger=none", *words, *own]).tree)
        network = build_network(run, LABELS, cache, hardware=hardware).train()
        made.append(Trial(run, network, run.optimizer.build(network), Draws()))
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.02)  # at 0, A would have no gradient
    return made


def passes_of(trials: Sequence[Trial], shape: tuple[int, int], device: str) -> list[Pass]:
    """Return a pass of each trial; trials of a study have the same rows at the same step."""
    num_rows, num_tokens = shape
    torch.manual_seed(0)
    ids = torch.randint(1000, 20_000, (num_rows, num_tokens))
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.randint(len(LABELS), (num_rows,)),
    }
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    return [
        Pass(
            each.network,
            each.run.task.inputs(batch),
            partial(loss_of, each.run, batch),
            lambda loss: loss,
            lambda: None,
        )
        for each in trials
    ]


def loss_of(run: Run, batch: Batch, network: Any) -> Tensor:
    output = run.task.forward(network, batch)
    return run.task.loss_sum(output, batch) / run.task.num_targets(batch)


def one_by_one(trials: Sequence[Trial], passes: Sequence[Pass]) -> None:
    for trial, each in zip(trials, passes, strict=True):
        with trial.draws.drawing():
            Alone().run(each)


def seconds_of(side: Callable[[], object], trials: Sequence[Trial], hardware: Hardware) -> float:
    began = _now(hardware)
    with hardware.autocast():
        side()
    for trial in trials:
        trial.step()
    return _now(hardware) - began


def largest_difference(trials: Sequence[Trial], passes: Sequence[Pass]) -> float:
    """Return the largest relative difference of the gradients of a trial, in fp32."""
    draws = [trial.draws for trial in trials]
    states = [each.state for each in draws]
    PackedNetwork([trial.network for trial in trials]).run(passes, draws)
    together = [_taken(trial.network) for trial in trials]
    for each, state in zip(draws, states, strict=True):
        each.state = state
    one_by_one(trials, passes)
    alone = [_taken(trial.network) for trial in trials]
    pairs = zip(together, alone, strict=True)
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def _taken(network: nn.Module) -> Tensor:
    """Return all gradients as one vector, and leave none."""
    trained = [each for each in network.parameters() if each.requires_grad]
    assert all(each.grad is not None for each in trained)
    vector = torch.cat([each.grad.flatten() for each in trained])  # type: ignore[union-attr]
    network.zero_grad()
    return vector


def _now(hardware: Hardware) -> float:
    """Return the time; on a CPU that of its cores alone, as others may use them too."""
    if hardware.device.value == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def main() -> int:
    parser = parser_of(__doc__, "fewer trials, shapes and rounds")
    parser.add_argument("words", nargs="*", help="e.g. model=tiny")
    given = parser.parse_args()
    sizes, shapes, num_rounds = SIZES, SHAPES, NUM_ROUNDS
    if given.quick:
        sizes, shapes, num_rounds = QUICK_SIZES, QUICK_SHAPES, QUICK_ROUNDS
    settings = build_run(compose("train", ["logger=none", *given.words]).tree).trainer
    hardware = choose_hardware(settings.device, Precision.auto)
    print(f"LoRA on {hardware}: ms per step of K trials, one by one and together")
    worst = 0.0
    for num in sizes:
        trials = trials_of(num, hardware, given.words)
        for shape in shapes:
            passes = passes_of(trials, shape, hardware.place())
            difference = largest_difference(trials, passes)
            worst = max(worst, difference)
            packed = PackedNetwork([trial.network for trial in trials])
            draws = [trial.draws for trial in trials]
            times: list[tuple[float, float]] = []
            for _ in range(1 + num_rounds):  # the first one warms up
                alone = seconds_of(partial(one_by_one, trials, passes), trials, hardware)
                together = seconds_of(partial(packed.run, passes, draws), trials, hardware)
                times.append((alone, together))
            medians = [1e3 * statistics.median(side) for side in zip(*times[1:], strict=True)]
            ratios = [alone / together for alone, together in times[1:]]
            print(
                f"K = {num:2d}, {shape[0]:2d} x {shape[1]:2d} tokens: {medians[0]:7.1f} "
                f"{medians[1]:7.1f} ms, ratio {medians[0] / medians[1]:.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}); gradients differ by {difference:.0e}",
                flush=True,
            )
    return int(worst > MAX_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
