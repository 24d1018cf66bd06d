"""The cost of a training step: at most 1.05 times that of a plain PyTorch loop of the same model.

nanoGPT's CPU setting (4 layers, width 128, context 64, batch 12) on random text. Both sides train
the same network with the same optimizer, clipping, schedule and number of threads. They alternate
step by step, so that other load affects both equally. Each side's time is the median of its steps,
wall-clock and CPU, without the first ones. Prints both ratios; the CPU time decides, because it
excludes other programs.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.network import build_network, build_tokenizer
from lightning_modules.run import Run
from lightning_modules.schedule.base import Length
from search.config import build_run, compose
from search.machine.quiet import quiet_training

BOUND = 1.05
NUM_STEPS = 620
NUM_SKIPPED = 20
NUM_CHARACTERS = 200_000

Times = tuple[float, float]


def now() -> Times:
    """Return wall-clock and CPU seconds."""
    return time.perf_counter(), time.process_time()


class Turns(Hooks):
    """Lets the plain loop take one step after each step of ours, and records both times."""

    def __init__(self, plain: Iterator[None]) -> None:
        self.seconds: dict[str, list[Times]] = {"plain": [], "finesweep": []}
        self._plain = plain
        self._mark = now()

    def on_step(self, step: int, num_steps: int) -> None:
        self._keep("finesweep")
        next(self._plain)
        self._keep("plain")

    def _keep(self, side: str) -> None:
        (wall, cpu), self._mark = self._mark, now()
        self.seconds[side].append((self._mark[0] - wall, self._mark[1] - cpu))


def plain_loop(run: Run, network: Any, tokens: Any) -> Iterator[None]:
    """Train like a short script, on windows at random offsets; pause after each step."""
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = run.optimizer.build(network)
    length, size = run.data.max_length, run.data.batch_size
    schedule = Length(NUM_STEPS, NUM_STEPS)
    network.train()
    for step in range(NUM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = run.optimizer.lr * run.schedule.factor(step, schedule)
        starts = torch.randint(len(tokens) - length - 1, (size,)).tolist()
        inputs = torch.stack([tokens[start : start + length] for start in starts])
        targets = torch.stack([tokens[start + 1 : start + length + 1] for start in starts])
        logits = network(input_ids=inputs, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), run.trainer.max_grad_norm or 0.0)
        optimizer.step()
        optimizer.zero_grad()
        yield


def make_run(folder: Path) -> Run:
    chance = random.Random(0)
    letters = [chr(number) for number in range(40, 105)]
    for name, size in (("train", NUM_CHARACTERS), ("validation", 2_000)):
        text = "".join(chance.choice(letters) for _ in range(size))
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    words = (
        "experiment=shakespeare",
        "logger=none",
        f"data.train={folder}/train.txt",
        f"data.validation={folder}/validation.txt",
        "data.test=null",
        "data.test_fraction=0",
        f"trainer.max_steps={NUM_STEPS}",
        "task.num_generated=0",
    )
    return build_run(compose("train", words).tree)


def main() -> int:
    quiet_training()
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FINESWEEP_CACHE"] = str(folder / "cache")
        run, cache = make_run(folder), Cache()
        rows = check_run(run).corpus.splits["train"]
        tokenizer = build_tokenizer(run, rows, cache)
        tokens = torch.tensor(tokenizer(rows[0]["text"])["input_ids"])
        turns = Turns(plain_loop(run, build_network(run, (), cache, tokenizer), tokens))
        place = folder / "run"
        place.mkdir()
        fit(run, place, Identity("benchmark", None, place), turns, cache)
    ratios = []
    for number, kind in enumerate(("wall", "CPU")):
        medians = {
            side: statistics.median(each[number] for each in steps[NUM_SKIPPED:])
            for side, steps in turns.seconds.items()
        }
        ratios.append(medians["finesweep"] / medians["plain"])
        shown = ", ".join(f"{side} {1e3 * value:.2f} ms" for side, value in medians.items())
        print(f"{kind:4s} per step: {shown}; ratio {ratios[-1]:.3f}, at most {BOUND:g} allowed")
    return int(ratios[-1] > BOUND)


if __name__ == "__main__":
    sys.exit(main())
