"""The memory of trials that share their passes (`search.pack`), from their configuration alone.

K trials of an arm hold one model, K times what is trained, with the copy that shared passes
compute with, and the activations of K batches. They also share the limit on the tokens at once, so
these may be no more than those of one batch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lightning_modules.run import Run
from search.estimate.need import need_of
from search.estimate.probe import largest
from search.estimate.study_need import (
    PEAK,
    PROCESS_BYTES,
    computes_bf16_on,
    is_on_gpu,
    num_at_once,
)
from search.machine.gpu import gpus
from search.machine.memory import free_bytes, free_gpu_bytes
from search.plan.plan import Plan
from search.study.pack import arms_that_pack

NUM_COPIES = 2
"""Values and gradients of the copy."""


@dataclass(frozen=True)
class PackNeed:
    """Bytes that a worker needs for a full pack, in its greediest arm.

    Attributes:
        num_trials: Trials of a full pack.
        base: What they have in common: the process if there is no GPU, and the model.
        states: What is trained, gradients, the optimizer's state, and copies: of all trials.
        activations: Of a batch of each; None if unknown.
        free: Free bytes where they are; None if unknown.
        num_sharing: Workers that share these.

    """

    num_trials: int
    base: float
    states: float
    activations: float | None
    free: int | None
    num_sharing: int

    @property
    def total(self) -> float:
        """Everything together, as far as known."""
        return self.base + self.states + (self.activations or 0)

    @property
    def fits(self) -> bool | None:
        """Whether the packs of the workers fit; None if unknown."""
        return None if self.free is None else self.num_sharing * self.total <= self.free

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"total": self.total, "fits": self.fits}


def pack_need(plan: Plan) -> PackNeed | None:
    """Return what a pack needs; None if no trials share passes, or if it is unknown."""
    num_trials, arms = plan.search.settings.pack_size, arms_that_pack(plan)
    if num_trials == 1 or not arms:
        return None
    has_gpu = bool(gpus())
    found = [_need(plan, plan.run(largest(plan, options)), has_gpu=has_gpu) for options in arms]
    known = [each for each in found if each is not None]
    return max(known, key=lambda each: each.total) if len(known) == len(found) else None


def _need(plan: Plan, run: Run, *, has_gpu: bool) -> PackNeed | None:
    on_gpu, num_trials = is_on_gpu(run, has_gpu), plan.search.settings.pack_size
    need = need_of(run, computes_bf16=computes_bf16_on(run, on_gpu=on_gpu))
    if need is None:
        return None
    width, activations = run.data.max_length, None
    if need.token is not None:
        num_examples = num_at_once(run, width, on_gpu=on_gpu, num_runs=num_trials)
        activations = num_trials * num_examples * PEAK * width * need.token
    num_gpus = max(1, len(gpus())) if on_gpu else 1
    return PackNeed(
        num_trials=num_trials,
        base=need.weights + (0 if on_gpu else PROCESS_BYTES + need.loaded),
        states=num_trials * (need.states + NUM_COPIES * need.trained),
        activations=activations,
        free=free_gpu_bytes() if on_gpu else free_bytes(),
        num_sharing=-(-max(1, plan.search.settings.workers) // num_gpus),
    )
