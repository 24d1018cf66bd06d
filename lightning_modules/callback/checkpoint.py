"""Checkpoints from which a run goes on bit-equal.

Everything random is a function of (seed, step), so a checkpoint is the step, the trained
tensors, the optimizer's state, the record and what is kept of the best validation. It is taken
between two optimizer steps, after any validation that belongs to the first, and put in place
atomically.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from lightning_modules.atomic import replacing
from lightning_modules.callback.best import Best, drop_best, load_best, save_best
from lightning_modules.network import restore_state, trained_state
from lightning_modules.record import Ending, Record, Stopped
from lightning_modules.run import CHECKPOINT_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.module import FineTuner


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read."""

    record: Record
    network: Mapping[str, Tensor]
    best: Best | None
    optimizer: dict[str, Any]


def load_checkpoint(folder: Path) -> Saved | None:
    """Return the folder's checkpoint; None where there is none."""
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    # weights_only: a checkpoint is tensors and plain values, and must never run code.
    saved = torch.load(path, map_location="cpu", weights_only=True)
    best = Best(**saved["best"]) if saved["best"] else None
    return Saved(Record.from_dict(saved["record"]), saved["network"], best, saved["optimizer"])


class Checkpointing(pl.Callback):
    """Goes on from `saved`, saves every so often, and saves and stops when asked to."""

    def __init__(
        self,
        folder: Path,
        every_seconds: float,
        saved: Saved | None,
        interrupted: Callable[[], bool],
    ) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._saved = saved
        self._interrupted = interrupted
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        self._last_save = time.monotonic()
        self._started = time.monotonic()
        self._seconds_before = saved.record.seconds if saved else 0.0

    def on_train_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        # Lightning has put a SIGTERM handler in place that ends the process between any two
        # lines; whoever started the run decides what signals do.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)
        if self._saved is not None:
            restore_state(tuner.network, self._saved.network)
            trainer.optimizers[0].load_state_dict(self._saved.optimizer)
        self._restore_best()
        self._saved = None
        # Starting the other ranks of a run takes longer than a short run trains.
        self._started = self._last_save = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batch: Any, batch_idx: int
    ) -> None:
        self.count_seconds(tuner)
        if self._interrupted():
            self._save(trainer, tuner)
            raise Stopped(Ending.interrupted, f"interrupted after step {tuner.record.step}")
        if time.monotonic() - self._last_save >= self._every_seconds:
            self._save(trainer, tuner)

    def count_seconds(self, tuner: FineTuner) -> None:
        """Bring the record's training time up to now."""
        tuner.record.seconds = self._seconds_before + time.monotonic() - self._started

    def _restore_best(self) -> None:
        # The files may be of a later validation than the record, if the attempt before was
        # killed after its last checkpoint.
        drop_best(self._folder)
        if self._saved is not None and self._saved.best is not None:
            save_best(self._folder, self._saved.best)

    def _save(self, trainer: pl.Trainer, tuner: FineTuner) -> None:
        tuner.check_loss()  # also writes the loss so far to the record
        best = load_best(self._folder)
        state = {
            "record": tuner.record.as_dict(),
            "network": trained_state(tuner.network),
            "best": {"weights": best.weights, "observed": best.observed} if best else None,
            "optimizer": trainer.optimizers[0].state_dict(),
        }
        with replacing(self._folder / CHECKPOINT_FILE) as draft:
            torch.save(state, draft)
        self._last_save = time.monotonic()
