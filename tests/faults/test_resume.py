"""A run that is killed at any step and resumed ends bit-equal to an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE, CHECKPOINT_FILE, OBSERVED_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from search.config import build_run, compose

SEED = 20261121


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: a fork has no others."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


class KillAt(Hooks):
    """Kills the process after a step, like `kill -9`."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, step: int, num_steps: int) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(run: Run, folder: Path, hooks: Hooks | None = None) -> Outcome:
    folder.mkdir(exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks)


def killed_at(run: Run, folder: Path, step: int) -> None:
    """Train in a child process that is killed after `step`."""
    child = os.fork()
    if child == 0:
        try:
            train(run, folder, KillAt(step))
        finally:
            os._exit(1)  # it was not killed
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def assert_same_bits(one: Path, other: Path) -> None:
    for name in (BEST_FILE, OBSERVED_FILE):
        first, second = load_file(one / name), load_file(other / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[key]) for key, tensor in first.items()), name
    for path in one.glob("*.jsonl"):
        assert path.read_bytes() == (other / path.name).read_bytes()


@pytest.mark.parametrize(
    ("num_data_workers", "num_kills"),
    [
        (0, 6),
        (2, 1),
        pytest.param(0, 20, marks=pytest.mark.slow),
        pytest.param(2, 20, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_random_steps_ends_bit_equal(
    learnable: Path, here: Path, num_data_workers: int, num_kills: int
) -> None:
    words = ["model=tiny", "strategy=full", "strategy.lr=3e-3", "logger=none", "data=files"]
    words += [f"data.train={learnable}", "data.batch_size=16", "trainer.epochs=3"]
    words += ["trainer.precision=fp32", "trainer.checkpoint_seconds=0.02"]
    words += ["trainer.checkpoint_share=null"]
    run = build_run(compose("train", [*words, f"trainer.num_data_workers={num_data_workers}"]).tree)
    whole = train(run, here / "whole")
    last = whole.points[-1].step
    chance, num_resumed = random.Random(SEED + num_data_workers), 0
    for number, step in enumerate(chance.choices(range(1, last), k=num_kills)):
        folder = here / f"killed-{number}"
        killed_at(run, folder, step)
        num_resumed += (folder / CHECKPOINT_FILE).is_file()
        resumed = train(run, folder)
        assert resumed.ending is Ending.finished
        assert_same_bits(here / "whole", folder)
        for one, other in zip(whole.points, resumed.points, strict=True):
            assert (one.step, one.train_loss, one.metrics) == (
                other.step,
                other.train_loss,
                other.metrics,
            )
    assert num_resumed >= num_kills / 2, "most runs had a checkpoint to resume from"
