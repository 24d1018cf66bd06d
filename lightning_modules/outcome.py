"""The record of one training: how far it is, its learning curve, how it ended."""

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
        number: 1 for the run's first validation.
        step: Optimizer steps done.
        examples: Training examples seen, rounded to the same count for every batch size.
        epoch: The same in epochs.
        train_loss: Mean training loss since the validation before.
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
    """What a resumed run must know of its past, besides its tensors."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    num_losses: int = 0
    points: list[Point] = field(default_factory=list)
    best: Point | None = None
    # Smaller than the configured one once memory ran out; None as long as it did not.
    micro_batch_size: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that `as_dict` gave."""
        best = Point(**values["best"]) if values["best"] else None
        points = [Point(**point) for point in values["points"]]
        return cls(**{**values, "points": points, "best": best})


class Ending(Enum):
    """How an attempt ended; `fit` itself returns all of these but `failed`."""

    finished = "finished"
    pruned = "pruned"
    diverged = "diverged"
    infeasible = "infeasible"
    interrupted = "interrupted"
    failed = "failed"


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to.

    Attributes:
        ending: How it ended; only `interrupted` can go on later.
        reason: The same for people.
        best: The best validation, None where there was none.
        points: The learning curve.
        seconds: Training time over all attempts.
        num_trainable: Trained parameters; 0 where the network was never built.
        num_parameters: All parameters; 0 where the network was never built.
        hardware: Device and precision, and why.
        devices: The device alone, e.g. `cuda x 2 ranks`.
        num_threads: CPU threads it trained with; only with as many is a repeat bit-equal.
        verdict: Whether it over- or underfits, in words.
        memory_bytes: The attempt's peak memory: on CUDA what its tensors took, elsewhere what the
            process held (see `callback.memory`); 0 where nothing measured it.

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
    """Return the outcome that `as_dict` gave, from a JSON file."""
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


UNTRAINED = "was not trained, so it can neither over- nor underfit"
"""The verdict on a run without a step."""


def fit_verdict(points: Sequence[Point]) -> str:
    """Say in words whether the curve shows over- or underfitting.

    Losses are compared, not metrics: they move before accuracy does, and are less noisy.
    """
    if len(points) < 2:
        return "had too few validations to say whether it over- or underfits"
    last, lowest = points[-1], min(points, key=lambda point: point.validation_loss)
    if last.validation_loss > 1.05 * lowest.validation_loss and last.train_loss < lowest.train_loss:
        return (
            f"overfits: the validation loss rose from {lowest.validation_loss:.3f} at epoch "
            f"{lowest.epoch:g} to {last.validation_loss:.3f} while the training loss fell to "
            f"{last.train_loss:.3f}; try fewer epochs or a lower learning rate"
        )
    if last.validation_loss > 1.05 * lowest.validation_loss:
        return (
            f"was unsteady: the validation loss was {lowest.validation_loss:.3f} at epoch "
            f"{lowest.epoch:g} and {last.validation_loss:.3f} at the end, the training loss "
            f"{last.train_loss:.3f}; try a lower learning rate"
        )
    if last.validation_loss < 0.97 * points[-2].validation_loss:
        improved = f"validation loss {points[-2].validation_loss:.3f} to {last.validation_loss:.3f}"
        ended, advice = "it ended", ", so it underfits; try more epochs or a higher learning rate"
        if last.epoch < 1:  # within the first epoch every training improves
            ended = f"it was ended within its first epoch, at {last.epoch:g}"
            advice = "; more steps or a higher learning rate may help"
        elif last.epoch == 1:
            ended = "its one epoch ended"
            advice = "; more epochs or a higher learning rate may help"
        return f"was still improving when {ended} ({improved}){advice}"
    if last.validation_loss > 1.5 * last.train_loss:
        worse = "without getting worse on these"
        if last.validation_loss > lowest.validation_loss:
            worse = (
                "and got a little worse on these since "
                f"{lowest.validation_loss:.3f} at epoch {lowest.epoch:g}"
            )
        return (
            f"fits its training rows better than new ones (loss {last.train_loss:.3f} against "
            f"{last.validation_loss:.3f}), {worse}; more data would help"
        )
    return (
        f"neither over- nor underfits: training and validation loss levelled off at "
        f"{last.train_loss:.3f} and {last.validation_loss:.3f}"
    )
