"""When a run saves checkpoints, and how it starts from one.

A checkpoint is made between two optimizer steps, after any validation that belongs to the first.
The next one is due after `trainer.checkpoint_seconds`, or later if checkpoints would take more than
`trainer.checkpoint_share` of the time. If the disk has no space for one, the run continues
without it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from lightning_modules.callback.best import BestFiles, drop_best, save_best
from lightning_modules.callback.checkpoint_file import Checkpoint, state_of, write_checkpoint
from lightning_modules.callback.interval import Interval
from lightning_modules.callback.kept import Kept, drop_others, keep, restore
from lightning_modules.folder import CHECKPOINT_FILE, PREVIOUS_FILE
from lightning_modules.machine.disk import write_when_free
from lightning_modules.machine.file import DiskFull
from lightning_modules.machine.lightning import pl
from lightning_modules.model.state import first_non_finite, restore_state, trained_state
from lightning_modules.outcome import Ending, Stopped

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.callback.speed import Speed
    from lightning_modules.hooks import Hooks
    from lightning_modules.module import FineTuner
    from lightning_modules.trainer import Trainer


class Checkpointing(pl.Callback):
    """Resumes from `checkpoint`, saves at intervals, and saves and stops when interrupted.

    A run without any step has nothing to save: it only stops, and starts again later.
    """

    def __init__(
        self,
        files: BestFiles,
        settings: Trainer,
        checkpoint: Checkpoint | None,
        speed: Speed,
        hooks: Hooks,
    ) -> None:
        self._files = files
        self._folder = files.folder
        self._checkpoint = checkpoint
        self._speed = speed
        self._hooks = hooks
        self._interval = Interval(
            settings.checkpoint_seconds, settings.checkpoint_share, hooks.warn
        )
        self._is_full = False
        self._on_sigterm = signal.getsignal(signal.SIGTERM)
        self._started = 0.0
        self._seconds_before = checkpoint.record.seconds if checkpoint else 0.0
        self._best: Kept | None = None
        """Of the last checkpoint, which is the previous one of the next."""

    def on_train_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._restore_sigterm()
        if self._checkpoint is not None:
            restore_state(tuner.network, self._checkpoint.network)
            trainer.optimizers[0].load_state_dict(self._checkpoint.optimizer)
            if self._checkpoint.precision:
                trainer.precision_plugin.load_state_dict(dict(self._checkpoint.precision))
        self._restore_best()
        self._checkpoint = None
        # The clock starts here: starting the other ranks takes longer than a short run trains.
        self._started = tuner.passes.now()
        self._interval.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batch: Any, batch_idx: int
    ) -> None:
        self.update_seconds(tuner)
        if self._hooks.interrupted():
            self._save_and_stop(trainer, tuner)
        if self._interval.is_due:
            self._save_if_it_fits(trainer, tuner)

    def on_validation_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        if not tuner.length.num_steps:
            self._restore_sigterm()
            self._started = tuner.passes.now()

    def on_validation_batch_start(self, trainer: pl.Trainer, tuner: Any, *_: Any) -> None:
        # A run that trains is stopped before its next step instead, where it can be resumed.
        if not tuner.length.num_steps and self._hooks.interrupted():
            raise Stopped(Ending.interrupted, "interrupted during its only validation")

    def update_seconds(self, tuner: FineTuner) -> None:
        """Update the training time in the record."""
        tuner.record.seconds = self._seconds_before + tuner.passes.now() - self._started

    def _restore_sigterm(self) -> None:
        # Lightning has installed a SIGTERM handler that can end the process between any two
        # lines. The code that called `fit` decides what signals do.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _restore_best(self) -> None:
        # If the previous attempt was killed after its last checkpoint, the files may be from a
        # later validation than the record.
        drop_best(self._folder)
        best = None if self._checkpoint is None else self._checkpoint.best
        if isinstance(best, Kept):
            self._best = best
            write_when_free(self._hooks, partial(restore, self._folder, best))
        elif best is not None:
            write_when_free(self._hooks, partial(save_best, self._folder, best))

    def _save_and_stop(self, trainer: pl.Trainer, tuner: FineTuner) -> NoReturn:
        try:
            self._save(trainer, tuner)
        except DiskFull as full:
            reason = f"interrupted, and {full.path.name} could not be written: {full}"
            raise Stopped(Ending.interrupted, reason) from None
        raise Stopped(Ending.interrupted, f"interrupted after step {tuner.record.step}")

    def _save_if_it_fits(self, trainer: pl.Trainer, tuner: FineTuner) -> None:
        try:
            with self._interval.measuring():
                self._save(trainer, tuner)
        except DiskFull as full:
            if not self._is_full:
                self._hooks.warn(f"{full}; training continues without new checkpoints")
            self._is_full = True
        else:
            if self._is_full:
                self._hooks.warn("disk space is available again; checkpoints are saved again")
            self._is_full = False

    def _save(self, trainer: pl.Trainer, tuner: FineTuner) -> None:
        """Save a checkpoint; raise DiskFull if there is no space for it."""
        record = tuner.record
        self._hooks.heartbeat(f"saving a checkpoint after step {record.step}")
        tuner.check_loss()  # also writes the loss so far to the record
        self._speed.pause(tuner)
        network, best = None, None
        if record.best is None or record.best.step != record.step:
            network = trained_state(tuner.network)
            check_finite(network, record.step)
        if record.best is not None:
            best = self._kept(record.best.step)
        optimizer, precision = trainer.optimizers[0], trainer.precision_plugin
        state = state_of(record, network, optimizer.state_dict(), best, precision.state_dict())
        write_checkpoint(self._folder / CHECKPOINT_FILE, state, self._folder / PREVIOUS_FILE)
        drop_others(self._folder, (best, self._best))
        self._best = best
        self._hooks.on_checkpoint(record.step)

    def _kept(self, step: int) -> Kept:
        """Return the files of the best validation, which was after `step`; may raise DiskFull."""
        if self._best is not None and self._best.step == step:
            return self._best
        self._files.write_now()
        return keep(self._folder, step)


def check_finite(network: Mapping[str, Tensor], step: int) -> None:
    """End the run as diverged if its trained tensors contain NaN or infinity."""
    name = first_non_finite(network)
    if name is not None:
        raise Stopped(Ending.diverged, f"the weights {name} became NaN or infinite by step {step}")
