"""The lines of a plan on how the weights of its models are held, and how many bytes they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_modules.strategy.qlora import Qlora
from search.estimate.need import HIGH, LOW, need_of
from search.plan.plan import Plan

if TYPE_CHECKING:
    from lightning_modules.run import Run

NUM_COPIES = 4
"""A trained weight, its gradient, and AdamW's two moments."""


def weights_lines(plan: Plan) -> list[str]:
    """Return how each arm's weights are held, if not all of them are as in the model's file."""
    lines = {" ".join(options): _held(run) for options, run in plan.defaults.items()}
    if len(set(lines.values())) > 1:
        lines = {name: f"{name}: {line}" for name, line in lines.items() if line}
    return [line for line in dict.fromkeys(lines.values()) if line]


def _held(run: Run) -> str:
    if not run.model.settled(computes_bf16=True).in_bf16:
        return ""
    return _frozen(run) if run.strategy.keeps_frozen else _all(run)


def _frozen(run: Run) -> str:
    low, high = _size(run, LOW), _size(run, HIGH)
    if isinstance(run.strategy, Qlora):
        need = need_of(run, computes_bf16=True)
        size = "" if need is None else f" (about {need.weights / 1e9:.1f} GB in all)"
        return f"linear layers in 4 bits, other matrices in bf16{size}; trained weights in fp32"
    if run.model.in_bf16:
        return f"frozen weights in bf16{low}, trained ones in fp32"
    return (
        f"frozen weights in bf16{low} if the device computes in bf16, else in fp32{high}; "
        "trained ones in fp32"
    )


def _all(run: Run) -> str:
    if run.model.in_bf16:
        return (
            f"all weights in bf16{_size(run, LOW * NUM_COPIES)} with gradients and two moments; "
            "updates below 1/256 of a weight are often lost"
        )
    if run.strategy.supports_bf16:
        every = _size(run, HIGH * NUM_COPIES)
        return f"all weights in fp32{every} with gradients and two moments"
    return f"all weights in fp32{_size(run, HIGH)}; this strategy needs that"


def _size(run: Run, num_bytes: int) -> str:
    """Return the bytes of all weights in words; nothing if the model's size is unknown."""
    size = run.model.known_size()
    return "" if size is None else f" (about {size.parameters * num_bytes / 1e9:.1f} GB)"
