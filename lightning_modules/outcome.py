"""The record of one training: its progress, its learning curve and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """One validation.

    Attributes:
        number: Counts the run's validations from 1.
        step: Optimizer steps done.
        examples: Training examples seen, rounded so that every batch size gives the same count.
        epoch: Epochs done, the unrounded count of examples.
        train_loss: Mean training loss since the previous validation.
        validation_loss: Mean validation loss.
        metrics: The task's validation metrics by name.
        seconds: Training time so far, over all attempts.

    """

    number: int
    step: int
    examples: int
    epoch: float
    train_loss: float
    validation_loss: float
    metrics: Mapping[str, float]
    seconds: float


@dataclass
class Record:
    """The state that a run resumes from, apart from its tensors."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    num_losses: int = 0
    points: list[Point] = field(default_factory=list)
    best: Point | None = None
    # Smaller than the configured size; None until the first time that memory runs out.
    micro_batch_size: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that `as_dict` turned into `values`."""
        best = Point(**values["best"]) if values["best"] else None
        points = [Point(**point) for point in values["points"]]
        return cls(**{**values, "points": points, "best": best})


class Ending(Enum):
    """How an attempt ended; `fit` returns any of these except `failed`."""

    finished = "finished"
    pruned = "pruned"
    diverged = "diverged"
    infeasible = "infeasible"
    interrupted = "interrupted"
    failed = "failed"


@dataclass(frozen=True)
class Outcome:
    """The result of an attempt.

    Attributes:
        ending: How it ended; only an `interrupted` run can be resumed.
        reason: Why it ended, in words.
        best: The best validation; None if there was none.
        points: The learning curve.
        seconds: Training time over all attempts.
        num_trainable: Trained parameters; 0 if the network was never built.
        num_parameters: All parameters; 0 if the network was never built.
        hardware: Device and precision, and why they were chosen.
        devices: The device alone, e.g. `cuda x 2 ranks`.
        num_threads: CPU threads; a repeat is bit-equal only with the same number.
        verdict: Whether it overfits or underfits, in words.
        memory_bytes: The attempt's peak memory: its tensors on CUDA, elsewhere the whole process
            (see `callback.memory`); 0 if it was not measured.

    """

    ending: Ending
    reason: str
    best: Point | None
    points: Sequence[Point]
    seconds: float
    num_trainable: int
    num_parameters: int
    hardware: str
    num_threads: int
    verdict: str
    memory_bytes: int = 0
    devices: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values, for JSON."""
        return {**asdict(self), "ending": self.ending.value}


def read_outcome(path: Path) -> Outcome:
    """Return the outcome stored at `path`, the JSON of `as_dict`."""
    values = json.loads(path.read_text(encoding="utf-8"))
    # Earlier versions wrote the device only at the start of `hardware`.
    values.setdefault("devices", values["hardware"].partition(",")[0])
    best = None if values["best"] is None else Point(**values["best"])
    points = tuple(Point(**point) for point in values["points"])
    changes = {"ending": Ending(values["ending"]), "best": best, "points": points}
    return Outcome(**{**values, **changes})


class Stopped(Exception):
    """Raised inside training to end it at a safe point."""

    def __init__(self, ending: Ending, reason: str) -> None:
        super().__init__(reason)
        self.ending = ending
        self.reason = reason


UNTRAINED = "was not trained, so it can neither overfit nor underfit"
"""The verdict on a run without any step."""


def fit_verdict(points: Sequence[Point]) -> str:
    """Return in words whether the curve shows overfitting or underfitting.

    Compares losses, not metrics: losses move before accuracy does, and are less noisy.
    """
    if len(points) < 2:
        return "had too few validations to show whether it overfits or underfits"
    last, lowest = points[-1], min(points, key=lambda point: point.validation_loss)
    if last.validation_loss > 1.05 * lowest.validation_loss and last.train_loss < lowest.train_loss:
        return (
            f"overfits: the validation loss rose from {lowest.validation_loss:.3f} at epoch "
            f"{lowest.epoch:g} to {last.validation_loss:.3f} while the training loss fell to "
            f"{last.train_loss:.3f}; try fewer epochs or a lower learning rate"
        )
    if last.validation_loss > 1.05 * lowest.validation_loss:
        return (
            f"was unstable: the validation loss was {lowest.validation_loss:.3f} at epoch "
            f"{lowest.epoch:g} but {last.validation_loss:.3f} at the end, and the training loss "
            f"did not improve ({last.train_loss:.3f}); try a lower learning rate"
        )
    if last.validation_loss < 0.97 * points[-2].validation_loss:
        improved = f"validation loss {points[-2].validation_loss:.3f} to {last.validation_loss:.3f}"
        ended, advice = "it ended", ", so it underfits; try more epochs or a higher learning rate"
        if last.epoch < 1:  # every training improves within its first epoch
            ended = f"it ended within its first epoch, at {last.epoch:g}"
            advice = "; more steps or a higher learning rate may help"
        elif last.epoch == 1:
            ended = "its only epoch ended"
            advice = "; more epochs or a higher learning rate may help"
        return f"was still improving when {ended} ({improved}){advice}"
    if last.validation_loss > 1.5 * last.train_loss:
        trend = "but the validation loss did not rise"
        if last.validation_loss > lowest.validation_loss:
            trend = (
                "and the validation loss rose slightly "
                f"from {lowest.validation_loss:.3f} at epoch {lowest.epoch:g}"
            )
        return (
            f"fits its training rows better than new ones (loss {last.train_loss:.3f} against "
            f"{last.validation_loss:.3f}), {trend}; more data would help"
        )
    return (
        f"neither overfits nor underfits: training and validation loss levelled off at "
        f"{last.train_loss:.3f} and {last.validation_loss:.3f}"
    )
