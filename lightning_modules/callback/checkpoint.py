"""Checkpoints from which a run goes on bit-equal.

Everything random is a function of (seed, step), so a checkpoint is the step, the trained
tensors, the optimizer's state, the record and what is kept of the best validation. It is taken
between two optimizer steps, after any validation that belongs to the first.

The file is what torch writes and after it the sha256 of that. It is put in place atomically,
and the one before is kept: whatever a crash or a bad disk does to one of them, the other is
whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from lightning_modules.callback.best import Best, drop_best, load_best, save_best
from lightning_modules.folder import CHECKPOINT_FILE, CHECKPOINT_FILES, PREVIOUS_FILE
from lightning_modules.machine.disk import write_when_free
from lightning_modules.machine.file import replacing
from lightning_modules.model.state import (
    first_non_finite,
    num_bytes_of,
    restore_state,
    trained_state,
)
from lightning_modules.outcome import Ending, Record, Stopped

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.hooks import Hooks
    from lightning_modules.module import FineTuner

SUM_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Saved:
    """A checkpoint as read."""

    record: Record
    network: Mapping[str, Tensor]
    best: Best | None
    optimizer: dict[str, Any]


class Broken(Exception):
    """A checkpoint file that is not what was written."""


def load_checkpoint(folder: Path, note: Callable[[str], None]) -> Saved | None:
    """Return the folder's newest whole checkpoint; None where there is none.

    Removes the files that are broken, so that none of them takes a whole one's place later, and
    tells `note` of them.
    """
    if not any((folder / name).exists() for name in CHECKPOINT_FILES):
        return None
    problems = []
    for name in CHECKPOINT_FILES:
        try:
            saved = read_checkpoint(folder / name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
        except Broken as broken:
            problems.append(f"{name} is broken ({broken})")
            (folder / name).unlink()
        else:
            if problems:
                note(f"{problems[0]}: the run goes on from {name}, step {saved.record.step}")
            return saved
    note(f"{', '.join(problems)}: the run begins anew")
    return None


def read_checkpoint(path: Path) -> Saved:
    """Return the checkpoint at `path`.

    Raises:
        FileNotFoundError: There is none.
        Broken: It is not whole, or no checkpoint.

    """
    with path.open("rb") as file:
        try:
            _check_sum(file)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise Broken("the disk cannot read it") from error
        file.seek(0)
        try:
            # weights_only: a checkpoint is tensors and plain values, and must never run code.
            saved = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise Broken("it holds more than tensors and plain values") from None
    best = Best(**saved["best"]) if saved["best"] else None
    return Saved(Record.from_dict(saved["record"]), saved["network"], best, saved["optimizer"])


def write_checkpoint(path: Path, state: Mapping[str, Any], previous: Path) -> None:
    """Write `state` to `path`; the file that is there becomes `previous`.

    Raises:
        DiskFull: There is no room; both files are as they were.

    """
    with (
        replacing(path, num_bytes_of(state), previous) as draft,
        draft.open("wb") as file,
    ):
        summing: Any = _Summing(file)
        torch.save(dict(state), summing)
        file.write(summing.sum.digest())


class _Summing:
    """A file for torch.save that sums up what goes into it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.sum = hashlib.sha256()
        self._file = file

    def write(self, part: bytes) -> int:
        self.sum.update(part)
        return self._file.write(part)

    def flush(self) -> None:
        self._file.flush()


def _check_sum(file: IO[bytes]) -> None:
    left = file.seek(0, os.SEEK_END) - SUM_BYTES
    if left <= 0:
        raise Broken("it is cut off")
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(left, 1 << 20))
        digest.update(part)
        left -= len(part)
    if file.read() != digest.digest():
        raise Broken("its content and its sha256 differ")


class Checkpointing(pl.Callback):
    """Goes on from `saved`, saves every so often, and saves and stops when asked to.

    A run without a step has nothing to save: it stops, and begins anew.
    """

    def __init__(
        self,
        folder: Path,
        every_seconds: float,
        saved: Saved | None,
        hooks: Hooks,
    ) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._saved = saved
        self._hooks = hooks
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        self._last_save = time.monotonic()
        self._started = time.monotonic()
        self._seconds_before = saved.record.seconds if saved else 0.0

    def on_train_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._leave_signals_alone()
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
        if self._hooks.interrupted():
            self._save(trainer, tuner)
            raise Stopped(Ending.interrupted, f"interrupted after step {tuner.record.step}")
        if time.monotonic() - self._last_save >= self._every_seconds:
            self._save(trainer, tuner)

    def on_validation_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        if not tuner.length.num_steps:
            self._leave_signals_alone()
            self._started = time.monotonic()

    def on_validation_batch_start(self, trainer: pl.Trainer, tuner: Any, *_: Any) -> None:
        # One that trains is asked before its next step, where it can go on later.
        if not tuner.length.num_steps and self._hooks.interrupted():
            raise Stopped(Ending.interrupted, "interrupted in its only validation")

    def count_seconds(self, tuner: FineTuner) -> None:
        """Bring the record's training time up to now."""
        tuner.record.seconds = self._seconds_before + time.monotonic() - self._started

    def _leave_signals_alone(self) -> None:
        # Lightning has put a SIGTERM handler in place that ends the process between any two
        # lines; whoever started the run decides what signals do.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _restore_best(self) -> None:
        # The files may be of a later validation than the record, if the attempt before was
        # killed after its last checkpoint.
        drop_best(self._folder)
        if self._saved is not None and self._saved.best is not None:
            write_when_free(self._hooks, partial(save_best, self._folder, self._saved.best))

    def _save(self, trainer: pl.Trainer, tuner: FineTuner) -> None:
        step = tuner.record.step
        self._hooks.heartbeat(f"saving a checkpoint after step {step}")
        tuner.check_loss()  # also writes the loss so far to the record
        network = trained_state(tuner.network)
        check_sound(network, step)
        best = load_best(self._folder)
        state = {
            "record": tuner.record.as_dict(),
            "network": network,
            "best": {"weights": best.weights, "observed": best.observed} if best else None,
            "optimizer": trainer.optimizers[0].state_dict(),
        }
        path, previous = self._folder / CHECKPOINT_FILE, self._folder / PREVIOUS_FILE
        write_when_free(self._hooks, partial(write_checkpoint, path, state, previous))
        self._last_save = time.monotonic()
        self._hooks.on_checkpoint(step)


def check_sound(network: Mapping[str, Tensor], step: int) -> None:
    """End the run as diverged where its trained tensors hold NaN or infinity."""
    name = first_non_finite(network)
    if name is not None:
        raise Stopped(Ending.diverged, f"the weights {name} became NaN or infinite by step {step}")
