"""Checkpoints from which a run resumes bit-equal.

Everything random is a function of (seed, step), so a checkpoint holds the step, the trained
tensors, the optimizer's state, the record and the best validation's tensors. It is made between
two optimizer steps, after any validation that belongs to the first.

The file is torch's own, followed by its sha256. It is written atomically and the previous file is
kept, so if a crash or a bad disk damages one of the two, the other is intact.
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

DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    record: Record
    network: Mapping[str, Tensor]
    best: Best | None
    optimizer: dict[str, Any]


class BrokenCheckpoint(Exception):
    """A file is not a checkpoint as it was written."""


def load_checkpoint(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the folder's newest intact checkpoint; None if there is none.

    Calls `warn` about missing or broken files, and deletes broken ones, since the next checkpoint
    would otherwise replace the intact file with the broken one.
    """
    if not any((folder / name).exists() for name in CHECKPOINT_FILES):
        return None
    problems = []
    for name in CHECKPOINT_FILES:
        try:
            checkpoint = read_checkpoint(folder / name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
        except BrokenCheckpoint as broken:
            problems.append(f"{name} is broken ({broken})")
            (folder / name).unlink()
        else:
            if problems:
                warn(f"{problems[0]}; resuming from {name}, step {checkpoint.record.step}")
            return checkpoint
    warn(f"{', '.join(problems)}; starting again from the beginning")
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`.

    Raises:
        FileNotFoundError: There is no file.
        BrokenCheckpoint: The file is damaged, or no checkpoint.

    """
    with path.open("rb") as file:
        try:
            _check_digest(file)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise BrokenCheckpoint("the disk cannot read it") from error
        file.seek(0)
        try:
            # weights_only: a checkpoint is tensors and plain values, and must never run code.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise BrokenCheckpoint("it contains more than tensors and plain values") from None
    best = Best(**state["best"]) if state["best"] else None
    return Checkpoint(Record.from_dict(state["record"]), state["network"], best, state["optimizer"])


def write_checkpoint(path: Path, state: Mapping[str, Any], previous: Path) -> None:
    """Write `state` to `path`; move the file that was there to `previous`.

    Raises:
        DiskFull: There is not enough space; both files are unchanged.

    """
    with (
        replacing(path, num_bytes_of(state), previous) as draft,
        draft.open("wb") as file,
    ):
        hashing: Any = _HashingFile(file)
        torch.save(dict(state), hashing)
        file.write(hashing.hash.digest())


class _HashingFile:
    """A file for torch.save that hashes what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.hash = hashlib.sha256()
        self._file = file

    def write(self, part: bytes) -> int:
        self.hash.update(part)
        return self._file.write(part)

    def flush(self) -> None:
        self._file.flush()


def _check_digest(file: IO[bytes]) -> None:
    left = file.seek(0, os.SEEK_END) - DIGEST_BYTES
    if left <= 0:
        raise BrokenCheckpoint("it is truncated")
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(left, 1 << 20))
        digest.update(part)
        left -= len(part)
    if file.read() != digest.digest():
        raise BrokenCheckpoint("its content does not match its sha256")


class Checkpointing(pl.Callback):
    """Resumes from `checkpoint`, saves at intervals, and saves and stops when interrupted.

    A run without any step has nothing to save: it only stops, and starts again later.
    """

    def __init__(
        self,
        folder: Path,
        every_seconds: float,
        checkpoint: Checkpoint | None,
        hooks: Hooks,
    ) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._checkpoint = checkpoint
        self._hooks = hooks
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        self._last_save = time.monotonic()
        self._started = time.monotonic()
        self._seconds_before = checkpoint.record.seconds if checkpoint else 0.0

    def on_train_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._restore_sigterm()
        if self._checkpoint is not None:
            restore_state(tuner.network, self._checkpoint.network)
            trainer.optimizers[0].load_state_dict(self._checkpoint.optimizer)
        self._restore_best()
        self._checkpoint = None
        # The clock starts here: starting the other ranks takes longer than a short run trains.
        self._started = self._last_save = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batch: Any, batch_idx: int
    ) -> None:
        self.update_seconds(tuner)
        if self._hooks.interrupted():
            self._save(trainer, tuner)
            raise Stopped(Ending.interrupted, f"interrupted after step {tuner.record.step}")
        if time.monotonic() - self._last_save >= self._every_seconds:
            self._save(trainer, tuner)

    def on_validation_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        if not tuner.length.num_steps:
            self._restore_sigterm()
            self._started = time.monotonic()

    def on_validation_batch_start(self, trainer: pl.Trainer, tuner: Any, *_: Any) -> None:
        # A run that trains is stopped before its next step instead, where it can be resumed.
        if not tuner.length.num_steps and self._hooks.interrupted():
            raise Stopped(Ending.interrupted, "interrupted during its only validation")

    def update_seconds(self, tuner: FineTuner) -> None:
        """Update the training time in the record."""
        tuner.record.seconds = self._seconds_before + time.monotonic() - self._started

    def _restore_sigterm(self) -> None:
        # Lightning has installed a SIGTERM handler that can end the process between any two
        # lines. The code that called `fit` decides what signals do.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _restore_best(self) -> None:
        # If the previous attempt was killed after its last checkpoint, the files may be from a
        # later validation than the record.
        drop_best(self._folder)
        if self._checkpoint is not None and self._checkpoint.best is not None:
            write_when_free(self._hooks, partial(save_best, self._folder, self._checkpoint.best))

    def _save(self, trainer: pl.Trainer, tuner: FineTuner) -> None:
        step = tuner.record.step
        self._hooks.heartbeat(f"saving a checkpoint after step {step}")
        tuner.check_loss()  # also writes the loss so far to the record
        network = trained_state(tuner.network)
        check_finite(network, step)
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


def check_finite(network: Mapping[str, Tensor], step: int) -> None:
    """End the run as diverged if its trained tensors contain NaN or infinity."""
    name = first_non_finite(network)
    if name is not None:
        raise Stopped(Ending.diverged, f"the weights {name} became NaN or infinite by step {step}")
