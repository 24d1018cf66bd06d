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
    # Of all steps, see `callback.speed`.
    num_tokens: int = 0
    num_targets: int = 0
    train_seconds: float = 0.0
    # Whether gradient checkpointing was turned on because memory ran out.
    recomputes: bool = False
    # Whether the repeated layers are compiled; None before `trainer.compile=auto` has settled it.
    compiles: bool | None = None
    # The most tokens that pass through the network at once; None sets no limit.
    micro_batch_tokens: int | None = None
    # Of the steps whose gradients were finite, before clipping.
    norm_sum: float = 0.0
    num_norms: int = 0
    # Of the last validation, which is the one like a scoring: answers may be generated at the end.
    validation_seconds: float | None = None
    # What that validation would have taken besides, if its rows had no features in the cache.
    frozen_seconds: float = 0.0

    @property
    def gradient_norm(self) -> float | None:
        """The mean norm of the gradients, over the steps; None if there were none."""
        return self.norm_sum / self.num_norms if self.num_norms else None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that `as_dict` turned into `values`."""
        best = Point(**values["best"]) if values["best"] else None
        points = [Point(**point) for point in values["points"]]
        return cls(**{**values, "points": points, "best": best})


@dataclass(frozen=True)
class RowScores:
    """What each group of validation rows contributes to a score, see `task.jackknife`.

    Attributes:
        rows: A text that runs on the same validation rows share.
        values: One contribution per group; their mean is about the score.

    """

    rows: str
    values: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, for the storage."""
        return {"rows": self.rows, "values": list(self.values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RowScores:
        """Return the scores from the values of `as_dict`."""
        return cls(str(values["rows"]), tuple(map(float, values["values"])))


@dataclass(frozen=True)
class GuardScore:
    """What a trained model scored on the data of a guard, see `lightning_modules.guard`.

    Attributes:
        name: The guard's name.
        metric: What was measured.
        value: The value at the best validation's weights.
        untouched: The untouched model's value on the same data.
        limit: The last value that holds.
        is_most: Whether values above the limit break the guard; otherwise those below it.
        bound: The bound in words, e.g. `at most +5 %`.

    """

    name: str
    metric: str
    value: float
    untouched: float
    limit: float
    is_most: bool
    bound: str

    @property
    def excess(self) -> float:
        """How far the value is beyond the limit, as a share of it, at most 1e9; > 0 is broken.

        If the limit is 0, as a share of 1.
        """
        beyond = self.value - self.limit if self.is_most else self.limit - self.value
        return min(beyond / (abs(self.limit) or 1.0), 1e9)

    @property
    def is_broken(self) -> bool:
        """Whether the guard is broken."""
        return self.excess > 0


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
        row_scores: What the validation rows contribute to the task's metric at the best
            validation; None if it was not computed.
        chosen_scores: The same for the metric that chose the best validation, if it is another.
        tokens_per_second: Trained tokens without padding, over the time of the steps alone; None
            if it had no step.
        mfu: The share of the device's peak that these steps used (see `model.flops`), in [0, 1];
            None if the peak is unknown.
        guards: What the best validation's weights scored on the data of guards.
        micro_batch_tokens: The most tokens that passed through the network at once, padding
            included; None if there was no limit.
        gradient_norm: The mean norm of the gradients before clipping, over the steps but those
            that fp16 skipped; None if there was none.
        scoring_seconds: About how long it takes to score the test rows, by the time that its last
            validation took per row, and that the frozen part took for its features, if there are
            any; None without test rows or a validation.

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
    row_scores: RowScores | None = None
    chosen_scores: RowScores | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    guards: Sequence[GuardScore] = ()
    micro_batch_tokens: int | None = None
    gradient_norm: float | None = None
    scoring_seconds: float | None = None

    @property
    def peak_memory_gib(self) -> float:
        """The attempt's peak memory in GiB."""
        return self.memory_bytes / 2**30

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
    scores = {
        name: None if values.get(name) is None else RowScores.from_dict(values[name])
        for name in ("row_scores", "chosen_scores")
    }
    changes = {
        "ending": Ending(values["ending"]),
        "best": best,
        "points": points,
        "guards": tuple(GuardScore(**each) for each in values.get("guards", ())),
        **scores,
    }
    return Outcome(**{**values, **changes})


class Stopped(Exception):
    """Raised inside training to end it at a safe point."""

    def __init__(self, ending: Ending, reason: str) -> None:
        super().__init__(reason)
        self.ending = ending
        self.reason = reason


UNTRAINED = "was not trained, so it can neither overfit nor underfit"
"""The verdict on a run without any step."""


MIN_LEVELLED = 3
"""Fewest validations, over more than one epoch, that show that the losses levelled off."""
NOT_LEARNT = "has not learnt"
"""The start of the verdict on a run that is no better than a guess which reads no row."""


def fit_verdict(points: Sequence[Point], unlearnt: str | None = None) -> str:
    """Return in words whether the curve shows overfitting or underfitting.

    Compares losses, not metrics: losses move before accuracy does, and are less noisy.

    Args:
        points: The validations.
        unlearnt: The verdict on the best validation's scores if they are those of a guess, see
            `lightning_modules.task.verdict`: then the losses say nothing about the fit.

    """
    if unlearnt is not None:
        return unlearnt
    if len(points) < 2:
        return "had too few validations to show whether it overfits or underfits"
    last, lowest = points[-1], min(points, key=lambda point: point.validation_loss)
    if last.validation_loss > 1.05 * lowest.validation_loss:
        return _risen(last, lowest)
    if last.validation_loss < 0.97 * points[-2].validation_loss:
        return _improving(last, points[-2])
    return _level(points, lowest)


def _risen(last: Point, lowest: Point) -> str:
    if last.train_loss < lowest.train_loss:
        return (
            f"overfits: the validation loss rose from {lowest.validation_loss:.3f} at epoch "
            f"{lowest.epoch:g} to {last.validation_loss:.3f} while the training loss fell to "
            f"{last.train_loss:.3f}; try fewer epochs or a lower learning rate"
        )
    return (
        f"was unstable: the validation loss was {lowest.validation_loss:.3f} at epoch "
        f"{lowest.epoch:g} but {last.validation_loss:.3f} at the end, and the training loss "
        f"did not improve ({last.train_loss:.3f}); try a lower learning rate"
    )


def _improving(last: Point, before: Point) -> str:
    improved = f"validation loss {before.validation_loss:.3f} to {last.validation_loss:.3f}"
    ended, advice = "it ended", ", so it underfits; try more epochs or a higher learning rate"
    if last.epoch < 1:  # every training improves within its first epoch
        ended = f"it ended within its first epoch, at {last.epoch:g}"
        advice = "; more steps or a higher learning rate may help"
    elif last.epoch == 1:
        ended = "its only epoch ended"
        advice = "; more epochs or a higher learning rate may help"
    return f"was still improving when {ended} ({improved}){advice}"


def _level(points: Sequence[Point], lowest: Point) -> str:
    last = points[-1]
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
    if len(points) < MIN_LEVELLED or last.epoch <= 1:
        return (
            f"changed little over its {len(points)} validations (validation loss "
            f"{points[0].validation_loss:.3f} to {last.validation_loss:.3f}), but was too short to "
            "show that it levelled off; try more epochs or a higher learning rate"
        )
    return (
        f"neither overfits nor underfits: training and validation loss levelled off at "
        f"{last.train_loss:.3f} and {last.validation_loss:.3f}"
    )
