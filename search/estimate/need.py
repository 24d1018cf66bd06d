"""The memory of a run, estimated from its configuration without loading anything.

With N parameters of the model, of which n are trained (or added), w bytes per frozen and v per
trained value, a run holds

    weights      w N                       or v N if all are trained
    states       v n more for adapters, a gradient and the optimizer's state per trained value, and
                 under bf16 or fp16 the copy in it that autocast keeps of a matrix trained in fp32
    activations  what `model.size` counts per token, in 3 bytes under bf16 and in 4.5 else; so much
                 small Llamas and BERTs keep, with 2 and 4 bytes per value and fp32 between layers

A worker keeps the loaded model for its next trials, in main memory unless they share it. If they do
not, each trains a copy of it.

Frozen linear layers in 4 bits take 4.127 bits per value with their scales (QLoRA, Dettmers et al.
2023, arXiv:2305.14314, section 3). What a pass takes beyond what it keeps is in `study_need`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.machine.hardware import Precision
from lightning_modules.model.size import Size
from lightning_modules.run import Run
from lightning_modules.strategy.qlora import Qlora

LOW, HIGH = 2, 4
"""Bytes of a value in bf16 and in fp32."""
QUANTIZED = 4.127 / 8
KEPT_LOW, KEPT_HIGH = 3.0, 4.5
"""Bytes of an activation that is kept, likewise."""


@dataclass(frozen=True)
class Need:
    """What a run needs, in bytes.

    Attributes:
        weights: The model as it is held.
        loaded: The same again in main memory, if each trial trains a copy of the loaded model.
        states: Adapters, gradients and the optimizer's state.
        token: Activations of one token; None for a mixture of experts.
        trained: The trained values, once: the file with a run's best weights.
        checkpoint: Trained values and the optimizer's state: a checkpoint's file.

    """

    weights: float
    loaded: float
    states: float
    token: float | None
    trained: float
    checkpoint: float


def need_of(run: Run, *, computes_bf16: bool) -> Need | None:
    """Return what a run needs; None if the model's size or the strategy's is unknown.

    Args:
        run: The run.
        computes_bf16: Whether it computes in bf16.

    """
    size = run.model.known_size()
    if size is None or not size.layers:
        return None
    num_trained = run.strategy.num_trained(size)
    if num_trained is None:
        return None
    is_mixed = computes_bf16 or run.trainer.precision is Precision.fp16
    all_trained = num_trained >= size.parameters
    held_low = _in_bf16(run, computes_bf16=computes_bf16)
    value = LOW if all_trained and held_low else HIGH
    state = run.optimizer.state_bytes(value)
    added = 0 if all_trained else value * num_trained
    if all_trained and is_mixed and value == HIGH:
        added = LOW * (size.parameters - size.embeddings)
    weights = _weights(run, size, LOW if held_low else HIGH)
    return Need(
        weights=weights,
        loaded=0 if run.strategy.keeps_frozen else weights,
        states=added + (value + state) * num_trained,
        token=_token(run, size, KEPT_LOW if is_mixed else KEPT_HIGH),
        trained=value * num_trained,
        checkpoint=(value + state) * num_trained,
    )


def _in_bf16(run: Run, *, computes_bf16: bool) -> bool:
    if run.model.in_bf16:  # as configured
        return run.strategy.supports_bf16
    return run.strategy.keeps_frozen and run.model.settled(computes_bf16=computes_bf16).in_bf16


def _weights(run: Run, size: Size, value: int) -> float:
    if isinstance(run.strategy, Qlora):
        return QUANTIZED * (size.parameters - size.embeddings) + value * size.embeddings
    return value * size.parameters


def _token(run: Run, size: Size, value: float) -> float | None:
    if size.experts:
        return None
    if not run.strategy.differentiates:
        # Nothing is kept for a backward pass; the widest layer's values are there for a moment.
        return value * size.kept / size.layers
    return value * size.kept
