"""The settings of the training loop, and Lightning's trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lightning_modules.error import Problem
from lightning_modules.machine.hardware import Device, Hardware, Precision
from lightning_modules.schema import Schema, positive

if TYPE_CHECKING:
    from lightning_modules.machine.lightning import pl


AUTO = "auto"
CAUTIOUS = "cautious_"
DEFAULT_TOKENS = 2**13
"""The most tokens in one pass if the device's memory is not measured: 64 examples of 128 tokens. On
a CPU more are not faster, and with a fixed number every machine draws the same dropout."""


class Select(Enum):
    """By what a run's best validation, and a study's best trial, are chosen."""

    auto = "auto"
    """What chose best on recorded runs, see `lightning_modules.task.select`."""
    metric = "metric"
    """The task's metric."""
    log_loss = "log_loss"
    """The log loss, if the task has one."""
    cautious_log_loss = "cautious_log_loss"
    """The log loss; and a study keeps its default configuration unless the best trial's log loss is
    lower by more than 2 standard errors of the paired difference."""
    calibrated_log_loss = "calibrated_log_loss"
    """The log loss after a temperature fitted to the validation rows, if the task has one."""
    brier = "brier"
    """The Brier score, if the task has one."""
    cautious_brier = "cautious_brier"
    """The Brier score; and a study keeps its default configuration as with `cautious_log_loss`."""

    @property
    def is_cautious(self) -> bool:
        """Whether another trial must be better than the default by more than its noise."""
        return self.value.startswith(CAUTIOUS)

    @property
    def score(self) -> str:
        """The name of the score that is compared, e.g. `log_loss`."""
        return self.value.removeprefix(CAUTIOUS)


@dataclass(frozen=True, kw_only=True)
class Trainer(Schema):
    """The settings of the training loop.

    Attributes:
        epochs: Passes over the training rows, > 0.
        max_steps: Maximum number of optimizer steps, > 0; training may end within an epoch. None
            trains all epochs.
        validations_per_epoch: Validations per epoch, evenly spaced, the last at its end, > 0.
            Training always ends with a validation.
        select: By what the best validation is chosen, whose weights and scores are the run's:
            `auto`, `metric`, `log_loss`, `cautious_log_loss`, `calibrated_log_loss`, `brier` or
            `cautious_brier`. Equal ones are told apart by the metric, then by the validation loss.
        patience: Training ends after this many validations without a better metric, > 0; None
            never ends early. It counts the metric, also if `select` names something else.
        max_grad_norm: Gradients are scaled down to this norm, > 0; None leaves them unchanged.
        micro_batch_size: Maximum number of examples in one pass through the network, > 0;
            gradients are accumulated over the batch. None limits their tokens only.
        micro_batch_tokens: Maximum number of tokens in one pass, padding included, also in
            validation, > 0; an example with more passes alone. `auto` measures on a GPU what fits,
            and is `DEFAULT_TOKENS` elsewhere. None passes the whole batch, or a
            device's whole share of it, at once.
        gradient_checkpointing: Whether the backward pass computes the layers again, so that their
            activations take no memory between the passes; gradients stay the same, and a step takes
            about a third longer. `auto` does so from when memory runs out with micro-batches that
            are too small to be halved: one example, or on a GPU 2048 tokens.
        cache_features: Whether the outputs of a frozen part below all that is trained are computed
            once, kept on disk, and trained on from there, if the strategy has such a part. Scores
            stay the same up to rounding.
        compile: Whether the repeated layers are compiled, which changes results a little (other
            rounding, other dropout). `auto` does so if a short probe finds that it pays; see
            `lightning_modules.model.compiled`.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` is bf16 on a device with units for it,
            and fp32 elsewhere. In fp16 the loss is scaled, so that small gradients do not become 0;
            a step whose gradients overflow is skipped, and the scale lowered.
        device: `auto`, `cpu`, `cuda` or `mps`.
        devices: Number of GPUs, or of processes on a CPU, that share every batch, > 0.
        num_data_workers: Processes that prepare batches, >= 0.
        checkpoint_seconds: Seconds between checkpoints, > 0; more if they would take too much time.
        checkpoint_share: Maximum share of the time that goes to checkpoints, in (0, 1]; None sets
            no limit.
        log_every_steps: Optimizer steps between logged training losses, > 0; at these steps a
            NaN or infinite loss ends the run.

    """

    epochs: int
    max_steps: int | None
    validations_per_epoch: int
    select: Select
    patience: int | None
    max_grad_norm: float | None
    micro_batch_size: int | None
    micro_batch_tokens: int | str | None
    gradient_checkpointing: bool | str
    cache_features: bool
    compile: bool | str
    precision: Precision
    device: Device
    devices: int
    num_data_workers: int
    checkpoint_seconds: float
    checkpoint_share: float | None
    log_every_steps: int

    @property
    def first_tokens(self) -> int | None:
        """The most tokens in one pass until the memory of the device is measured."""
        tokens = self.micro_batch_tokens
        return DEFAULT_TOKENS if isinstance(tokens, str) else tokens

    def problems(self) -> Iterator[Problem]:
        yield from positive(
            self,
            "epochs",
            "max_steps",
            "validations_per_epoch",
            "patience",
            "max_grad_norm",
            "micro_batch_size",
            "devices",
            "checkpoint_seconds",
            "log_every_steps",
        )
        for name in ("gradient_checkpointing", "compile"):
            if (value := getattr(self, name)) not in (AUTO, True, False):
                yield Problem(name, "must be auto, true or false", value)
        tokens = self.micro_batch_tokens
        if tokens != AUTO and (isinstance(tokens, str) or (tokens is not None and tokens <= 0)):
            yield Problem("micro_batch_tokens", "must be auto, null or a number > 0", tokens)
        if self.num_data_workers < 0:
            yield Problem("num_data_workers", "must be >= 0", self.num_data_workers)
        if self.checkpoint_share is not None and not 0 < self.checkpoint_share <= 1:
            yield Problem("checkpoint_share", "must be in (0, 1], or null", self.checkpoint_share)


def lightning_trainer(hardware: Hardware, callbacks: list[Any], rank: int = 0) -> pl.Trainer:
    """Return the Lightning trainer of one rank, configured as if it were the only one."""
    from lightning_modules.machine.lightning import SLURMEnvironment, pl
    from lightning_modules.machine.resident import Resident
    from lightning_modules.machine.scaled import Scaled

    plugins: list[Any] = []
    if SLURMEnvironment.detect():
        # Lightning's own requeueing would save inside a signal handler.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    precision = hardware.lightning_precision
    if precision is None:
        plugins.append(Scaled(hardware.device.value))
    return pl.Trainer(
        plugins=plugins,
        strategy=Resident(hardware.place(rank)),
        accelerator=hardware.device.value,
        devices=[rank] if hardware.device is Device.cuda else 1,
        precision=precision,
        # One Lightning epoch spans the run; the run's epochs are positions in its batch stream.
        max_epochs=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # Only the run's seed orders the batches, never Lightning's own state.
        use_distributed_sampler=False,
    )
