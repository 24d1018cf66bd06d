"""How many tokens per second a run trains, and how much of the device's peak that is.

Counted are the tokens of all steps without padding, read or predicted, and the time of these steps
with reading their batches, but without validations and checkpoints. The counts stay on the device
until something waits for it anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_modules.batch.type import IGNORED
from lightning_modules.machine.lightning import pl
from lightning_modules.machine.peak import peak_of
from lightning_modules.model.flops import flops_of

if TYPE_CHECKING:
    from lightning_modules.batch.type import Batch
    from lightning_modules.machine.hardware import Hardware
    from lightning_modules.outcome import Record


class Speed(pl.Callback):
    """Counts the tokens of each step and measures its time, in the run's record."""

    def __init__(self) -> None:
        self._mark: float | None = None
        self._tokens: Any = 0
        self._targets: Any = 0
        self._logged = (0, 0.0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._mark is None:
            self._mark = tuner.passes.now()

    def on_train_batch_end(
        self, trainer: pl.Trainer, tuner: Any, outputs: Any, batches: Any, batch_idx: int
    ) -> None:
        for batch in batches:
            tokens, targets = count(batch, reads_targets=_reads_targets(tuner.network))
            self._tokens = self._tokens + tokens
            self._targets = self._targets + targets
        self._add_time(tuner)

    def on_validation_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self.pause(tuner)

    def pause(self, tuner: Any) -> None:
        """Bring the record up to date; what follows until the next step does not count."""
        if self._mark is None:
            return
        self._collect(tuner.record)  # waits for the device
        self._add_time(tuner)
        self._mark = None

    def since_last(self, tuner: Any) -> float | None:
        """Return tokens per second since the last call; None if there were none."""
        record = tuner.record
        self._collect(record)
        self._add_time(tuner)
        tokens, seconds = (
            record.num_tokens - self._logged[0],
            record.train_seconds - self._logged[1],
        )
        self._logged = record.num_tokens, record.train_seconds
        return tokens / seconds if seconds > 0 else None

    def _collect(self, record: Record) -> None:
        record.num_tokens += int(self._tokens)
        record.num_targets += int(self._targets)
        self._tokens = self._targets = 0

    def _add_time(self, tuner: Any) -> None:
        now = tuner.passes.now()
        if self._mark is not None:
            tuner.record.train_seconds += now - self._mark
            self._mark = now


def count(batch: Batch, *, reads_targets: bool) -> tuple[Any, Any]:
    """Return the number of tokens in a batch without padding, and of tokens to predict.

    Each is a number, or a tensor on the batch's device, for which nothing waits here.

    Args:
        batch: The batch.
        reads_targets: Whether the network reads its targets too, e.g. an encoder-decoder.

    """
    ids, mask, labels = (batch.get(name) for name in ("input_ids", "attention_mask", "labels"))
    tokens: Any = 0 if ids is None else ids.numel()
    if mask is not None:
        tokens = mask.sum()
    targets: Any = 0
    if labels is not None and labels.ndim > 1:
        targets = (labels != IGNORED).sum()
    return tokens + targets if reads_targets else tokens, targets


def throughput(
    record: Record, network: Any, hardware: Hardware
) -> tuple[float | None, float | None]:
    """Return a run's tokens per second, and the share of the device's peak that it used (MFU).

    Both are None for a run without steps, and the share is None if the device's peak is unknown,
    the run computes in fp32, or the network's operations per token are unknown.
    """
    if not record.num_tokens or not record.train_seconds:
        return None, None
    peak = peak_of(hardware)
    flops = None if peak is None else flops_of(network)
    rate = record.num_tokens / record.train_seconds
    if flops is None or peak is None:
        return rate, None
    work = record.num_tokens * flops.per_token + record.num_targets * flops.per_target
    return rate, work / record.train_seconds / peak


def _reads_targets(network: Any) -> bool:
    return bool(getattr(getattr(network, "config", None), "is_encoder_decoder", False))
