"""The disk and the memory that a study needs, from its configuration alone: no model is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_modules.batch.micro import Limit
from lightning_modules.logger.none import NoLogger
from lightning_modules.machine.hardware import Device, Precision
from lightning_modules.run import Run
from lightning_modules.trainer import AUTO
from search.estimate.need import Need, need_of
from search.estimate.probe import largest
from search.machine.cpu import has_bf16_units
from search.machine.gpu import gpus
from search.machine.memory import free_bytes, free_gpu_bytes
from search.plan.certify import certifies, max_runs
from search.plan.plan import Plan

PROCESS_BYTES = 0.7e9
"""A worker without a model: the interpreter and its libraries (`benchmarks/memory.py`)."""
PEAK = 1.9
"""The most that a pass takes, over what it keeps for the backward pass: with the piece of logits,
what kernels need for a moment and what an allocator keeps in reserve. Workers with `lora` took up
to 1.82 and 1.61 times as much for 1,024 and 4,096 tokens of a Llama of 75 million parameters, in
bf16 on a CPU."""
LOG_BYTES = 1e6
"""A trial's log, curves and tables."""
NUM_CHECKPOINTS = 3
"""The last two, and the one that is being written."""


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that a study's folder takes at most, but for exports.

    Attributes:
        kept: The best weights that stay, those of certified runs until the certificate is written.
        num_kept: Of how many trials.
        num_certified: And of how many certified runs.
        running: The checkpoints and best weights of the trials that run at once.
        num_running: How many these are.
        logs: Of all trials and certified runs.
        free: Free bytes where the folder is.

    """

    kept: float
    num_kept: int
    num_certified: int
    running: float
    num_running: int
    logs: float
    free: int

    @property
    def total(self) -> float:
        """Everything together."""
        return self.kept + self.running + self.logs


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a worker needs in its greediest arm.

    Attributes:
        on_gpu: Whether the model is on a GPU.
        weights: The model as it is held.
        loaded: The loaded model in main memory, if each trial trains a copy of it.
        states: Adapters, gradients and the optimizer's state.
        example: The most that a pass over one example takes, with which a run gets along if it
            must; None if unknown.
        batch: Those of as many examples as are configured.
        num_examples: The most that these can be.
        num_tokens: Tokens of an example.
        host: Main memory: the process, and the model or, with a GPU, what is copied from there.
        free: Free bytes of the GPU, or else of main memory; None if unknown.
        free_host: Free main memory.
        num_sharing: Workers on one GPU, or without a GPU all of them.
        num_workers: All workers.

    """

    on_gpu: bool
    weights: float
    loaded: float
    states: float
    example: float | None
    batch: float | None
    num_examples: int
    num_tokens: int
    host: float
    free: int | None
    free_host: int
    num_sharing: int
    num_workers: int

    @property
    def process(self) -> float:
        """What the worker's process takes on the model's device besides the model of a trial."""
        return 0 if self.on_gpu else PROCESS_BYTES + self.loaded

    @property
    def least(self) -> float:
        """What a worker needs on its device with one example at a time."""
        return self.process + self.weights + self.states + (self.example or 0)

    @property
    def most(self) -> float:
        """What it needs with the configured examples at a time."""
        return self.least + (self.batch or 0) - (self.example or 0)

    @property
    def fits(self) -> bool | None:
        """Whether the workers fit with one example at a time each; None if unknown."""
        return None if self.free is None else self.num_sharing * self.least <= self.free

    @property
    def fits_batch(self) -> bool | None:
        """Whether they fit with the configured examples."""
        return None if self.free is None else self.num_sharing * self.most <= self.free

    @property
    def fits_host(self) -> bool:
        """Whether all workers fit into main memory."""
        return self.num_workers * self.host <= self.free_host


@dataclass(frozen=True)
class StudyNeed:
    """What a study needs.

    Attributes:
        disk: Its folder.
        memory: A worker, in the arm that needs most.

    """

    disk: DiskNeed
    memory: MemoryNeed

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        memory = asdict(self.memory) | {"least": self.memory.least, "most": self.memory.most}
        return {"disk": asdict(self.disk) | {"total": self.disk.total}, "memory": memory}


def study_need(plan: Plan, folder: Path) -> StudyNeed | None:
    """Return what a study needs; None if that of any of its arms is unknown.

    Args:
        plan: The study's plan.
        folder: The study's folder, which need not exist.

    """
    has_gpu = bool(gpus())
    runs = {options: plan.run(largest(plan, options)) for options in plan.defaults}
    needs: dict[Any, Need] = {}
    for options, run in runs.items():
        need = need_of(run, computes_bf16=computes_bf16_on(run, on_gpu=is_on_gpu(run, has_gpu)))
        if need is None:
            return None
        needs[options] = need
    memories = [_memory(plan, runs[options], need, has_gpu) for options, need in needs.items()]
    return StudyNeed(_disk(plan, needs, folder), max(memories, key=lambda memory: memory.most))


def is_on_gpu(run: Run, has_gpu: bool) -> bool:
    """Return whether a run trains on a GPU, on a machine that has one or not."""
    return run.trainer.device is Device.cuda or (run.trainer.device is Device.auto and has_gpu)


def computes_bf16_on(run: Run, *, on_gpu: bool) -> bool:
    """Return whether a run computes in bf16."""
    if run.trainer.precision is not Precision.auto:
        return run.trainer.precision is Precision.bf16
    return on_gpu or has_bf16_units()


def _disk(plan: Plan, needs: Mapping[Any, Need], folder: Path) -> DiskNeed:
    settings = plan.search.settings
    trained = max(need.trained for need in needs.values())
    checkpoint = max(need.checkpoint for need in needs.values())
    num_running = max(1, settings.workers)
    num_kept = min(settings.keep + 1, plan.num_trials)  # the default may stay as well
    num_certified = max_runs(plan) if certifies(plan) else 0
    logs = 0.0 if isinstance(plan.default.logger, NoLogger) else LOG_BYTES
    where = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return DiskNeed(
        kept=(num_kept + num_certified) * trained,
        num_kept=num_kept,
        num_certified=num_certified,
        # Each may have its own best weights.
        running=num_running * NUM_CHECKPOINTS * (checkpoint + trained),
        num_running=num_running,
        logs=(plan.num_trials + num_certified) * logs,
        free=shutil.disk_usage(where).free,
    )


def _memory(plan: Plan, run: Run, need: Need, has_gpu: bool) -> MemoryNeed:
    on_gpu, num_tokens = is_on_gpu(run, has_gpu), run.data.max_length
    example = None if need.token is None else PEAK * num_tokens * need.token
    num_examples = num_at_once(run, num_tokens, on_gpu=on_gpu)
    num_workers = max(1, plan.search.settings.workers)
    batch = None if example is None else num_examples * example
    host = PROCESS_BYTES + (
        # The weights pass through main memory; the trained ones come back for a checkpoint.
        max(need.weights, need.loaded + need.trained)
        if on_gpu
        else need.loaded + need.weights + need.states + (batch or 0)
    )
    num_gpus = max(1, len(gpus()) // run.trainer.devices) if on_gpu else 1
    return MemoryNeed(
        on_gpu=on_gpu,
        weights=need.weights,
        loaded=need.loaded,
        states=need.states,
        example=example,
        batch=batch,
        num_examples=num_examples,
        num_tokens=num_tokens,
        host=host,
        free=free_gpu_bytes() if on_gpu else free_bytes(),
        free_host=free_bytes(),
        num_sharing=-(-num_workers // num_gpus),
        num_workers=num_workers,
    )


def num_at_once(run: Run, num_tokens: int, *, on_gpu: bool, num_runs: int = 1) -> int:
    """Return how many examples of a batch pass at once, if they fit.

    Args:
        run: The run.
        num_tokens: Tokens of an example.
        on_gpu: Whether it trains on a GPU.
        num_runs: Runs that share passes, and so the limit on the tokens.

    """
    trainer = run.trainer
    is_measured = on_gpu and trainer.micro_batch_tokens == AUTO
    tokens = None if is_measured else trainer.first_tokens
    tokens = None if tokens is None else tokens // num_runs
    return Limit(trainer.micro_batch_size, tokens).size(run.data.batch_size, num_tokens)
