"""Train the random Llama with finesweep, and measure the speed of its steps."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_parts.call import Call, report, require
from gpu_parts.llama import write_model, write_rows

from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from search.config import build_run, compose

PEAK = 989e12  # dense bf16 of an H200 by its datasheet; 790e12 is measured with matmuls
NUM_SKIPPED = 3  # the first steps allocate memory and choose kernels
GIB = 2**30


class StepTimer(Hooks):
    """Times a run's steps, without its first ones; waits for the device only twice.

    Attributes:
        warnings: What the run warned of.

    """

    def __init__(self, *, on_cpu: bool, stop_after: int | None = None) -> None:
        self.warnings: list[str] = []
        self._on_cpu = on_cpu
        self._stop_after = stop_after
        self._step = 0
        self._times: dict[int, float] = {}

    def on_step(self, step: int, num_steps: int) -> None:
        self._step = step
        if step in (NUM_SKIPPED, num_steps):
            if not self._on_cpu:
                torch.cuda.synchronize()
            self._times[step] = time.monotonic()

    def interrupted(self) -> bool:
        return self._stop_after is not None and self._step >= self._stop_after

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @property
    def seconds_per_step(self) -> float:
        """Mean of the steps after the first ones."""
        (first, began), (last, ended) = self._times.items()
        return (ended - began) / (last - first)


@dataclass(frozen=True)
class Trained:
    """A training.

    Attributes:
        outcome: What `fit` returned.
        timer: The times of its steps, and its warnings.
        seconds: Of the whole call of `fit`.
        folder: The run's folder.

    """

    outcome: Outcome
    timer: StepTimer
    seconds: float
    folder: Path


def overrides(call: Call, strategy: str = "lora") -> list[str]:
    """Return the overrides that a run and a study of this model have in common."""
    device = ["trainer.device=cuda"]
    if call.on_cpu:
        device = ["trainer.device=cpu", "trainer.precision=fp32"]
    return [
        "task=generation",
        "task.text=messages",
        "task.num_generated=2",
        "task.max_new_tokens=8",
        "model=hub",
        f"model.path={write_model(call)}",
        f"strategy={strategy}",
        "data=files",
        f"data.train={write_rows(call)}",
        f"data.batch_size={call.size.batch_size}",
        f"data.max_length={call.size.num_tokens}",
        "data.validation_fraction=0.02",
        "data.test_fraction=0.02",
        "logger=none",
        "trainer.epochs=1",
        "trainer.validations_per_epoch=1",
        *device,
    ]


def make_run(call: Call, *more: str, strategy: str = "lora") -> Run:
    """Return a run of this model."""
    return build_run(compose("train", [*overrides(call, strategy), *more]).tree)


def train(
    call: Call, run: Run, name: str, *, stop_after: int | None = None, resume: bool = False
) -> Trained:
    """Train a run in a folder of its own; fail the part unless it ends as expected.

    Args:
        call: The benchmark's call.
        run: The run.
        name: The folder's name.
        stop_after: Interrupt the run after this step.
        resume: Keep what the folder has, so that the run resumes.

    """
    folder = call.work / "runs" / f"{call.size_name}-{name}"
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    timer = StepTimer(on_cpu=call.on_cpu, stop_after=stop_after)
    began = time.monotonic()
    outcome = fit(run, folder, Identity(name, None, folder), timer)
    expected = Ending.finished if stop_after is None else Ending.interrupted
    rule = f"run {name} must end as {expected.value}, got {outcome.ending.value}: {outcome.reason}"
    require(outcome.ending is expected, rule)
    return Trained(outcome, timer, time.monotonic() - began, folder)


def report_speed(call: Call, kind: str, seconds_per_step: float, **facts: Any) -> None:
    """Report the speed of a training's steps, and on a card its memory and its use of the card."""
    rate = call.size.batch_size * call.size.num_tokens / seconds_per_step
    on_card = {}
    if not call.on_cpu:
        on_card = {
            "mfu": round(rate * call.size.flops_per_token() / PEAK, 4),
            "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2),
            "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2),
        }
    report(
        kind=kind,
        ms_per_step=round(1000 * seconds_per_step, 1),
        tokens_per_second=round(rate),
        **on_card,
        **facts,
    )
