"""Small trainings for tests: a tiny model on a file that it can learn."""

from __future__ import annotations

from pathlib import Path

import psutil

from lightning_modules.cache import Cache
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Outcome, Point
from lightning_modules.run import Run
from search.config import build_run, compose

# fp32: bf16 rounds too coarsely to compare one run's numbers with another's.
TINY = (
    "model=tiny",
    "strategy=full",
    "strategy.lr=3e-3",
    "logger=none",
    "data.batch_size=16",
    "trainer.precision=fp32",
)


def tiny_run(learnable: Path, *words: str) -> Run:
    """Return a run of the tiny model on the file of the fixture `learnable`."""
    data = ("data=files", f"data.train={learnable}")
    return build_run(compose("train", [*TINY, *data, *words]).tree)


def train(
    run: Run, folder: Path, hooks: Hooks | None = None, cache: Cache | None = None
) -> Outcome:
    """Train the run in `folder`, which may not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks, cache)


def ranks_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the children of `process` that are other ranks of its runs."""
    return [
        each
        for each in process.children()
        if each.status() != psutil.STATUS_ZOMBIE
        and "lightning_modules.launch.follower" in each.cmdline()
    ]


class PruneAt(Hooks):
    """Prunes the run at validation `number`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_validation(self, point: Point) -> str | None:
        return "not good enough" if point.number == self.number else None


class Listener(Hooks):
    """Records what a run reports, and interrupts it after `stop` steps."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps: list[tuple[int, int]] = []
        self.phases: list[str] = []
        self.warnings: list[str] = []

    def on_step(self, step: int, num_steps: int) -> None:
        self.steps.append((step, num_steps))

    def heartbeat(self, doing: str) -> None:
        self.phases.append(doing)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def interrupted(self) -> bool:
        return self.stop is not None and len(self.steps) >= self.stop
