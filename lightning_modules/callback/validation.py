"""Validations: when they happen, what they found, what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from lightning_modules.callback.best import Best, save_best
from lightning_modules.callback.checkpoint import check_sound
from lightning_modules.machine.disk import write_when_free
from lightning_modules.model.state import trained_state
from lightning_modules.outcome import Ending, Point, Stopped
from lightning_modules.schedule.base import Length

if TYPE_CHECKING:
    from lightning_modules.callback.checkpoint import Checkpointing
    from lightning_modules.hooks import Hooks
    from lightning_modules.logger.base import RunLog
    from lightning_modules.module import FineTuner
    from lightning_modules.task.base import Task


def validation_steps(length: Length, per_epoch: int) -> dict[int, float]:
    """Return each validation's optimizer step, with the epochs done, evenly over epochs.

    Where an epoch has fewer steps than validations, those that fall together are one. The end of
    training has one of its own.

    >>> validation_steps(Length(num_steps=10, steps_per_epoch=5), per_epoch=2)
    {2: 0.5, 5: 1.0, 8: 1.5, 10: 2.0}
    """
    epochs = length.num_steps / length.steps_per_epoch
    steps = {
        max(1, round(number * length.steps_per_epoch / per_epoch)): number / per_epoch
        for number in range(1, int(epochs * per_epoch) + 1)
    }
    steps[length.num_steps] = epochs
    return steps


def is_better(point: Point, best: Point, task: Task) -> bool:
    """Say whether `point` takes the place of `best`: by the metric, on a tie by the lower loss.

    A metric of few values, as an accuracy on 40 rows, ties often, and the loss still tells how
    sure the right answers are.
    """
    value, than = point.metrics[task.metric], best.metrics[task.metric]
    if value == than:
        return point.validation_loss < best.validation_loss
    return task.better(value, than)


class Due(pl.Callback):
    """Lets Lightning validate after the steps that `validation_steps` names."""

    def __init__(self, steps: Mapping[int, float]) -> None:
        self._steps = steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning validates where (batch_idx + 1) is a multiple of val_check_batch. Its fixed
        # interval would not meet the ends of epochs.
        due = tuner.record.step + 1 in self._steps
        trainer.val_check_batch = batch_idx + 1 if due else batch_idx + 2


class Validation(Due):
    """Validates, draws the curve, keeps the best of it, and asks whether to go on."""

    def __init__(
        self,
        folder: Path,
        steps: Mapping[int, float],
        num_train: int,
        log: RunLog,
        clock: Checkpointing,
        hooks: Hooks,
    ) -> None:
        super().__init__(steps)
        self._folder = folder
        self._num_train = num_train
        self._log = log
        self._clock = clock
        self._hooks = hooks

    def on_validation_end(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._clock.count_seconds(tuner)
        point = self._point(tuner)
        scores = {"validation loss": point.validation_loss, **point.metrics}
        for name, score in scores.items():
            if not math.isfinite(score):
                raise Stopped(Ending.diverged, f"the {name} became {score} at step {point.step}")
        trained = {"train/mean_loss": point.train_loss} if tuner.record.num_losses else {}
        tuner.forget_loss()
        tuner.record.points.append(point)
        self._log.log(
            {
                **trained,
                "validation/loss": point.validation_loss,
                "epoch": point.epoch,
                **{f"validation/{name}": value for name, value in point.metrics.items()},
            },
            step=point.step,
        )
        self._keep_best(tuner, point)
        reason = self._hooks.on_validation(point)
        if reason is not None:
            raise Stopped(Ending.pruned, reason)
        self._check_patience(tuner)

    def _point(self, tuner: FineTuner) -> Point:
        step = tuner.record.step
        epoch = self._steps[step]
        return Point(
            number=1 + sorted(self._steps).index(step),
            step=step,
            examples=round(epoch * self._num_train),
            epoch=epoch,
            train_loss=tuner.check_loss(),
            validation_loss=tuner.validation_loss,
            metrics=dict(tuner.scores),
            seconds=tuner.record.seconds,
        )

    def _keep_best(self, tuner: FineTuner, point: Point) -> None:
        best = tuner.record.best
        if best is None or is_better(point, best, tuner.run.task):
            kept = Best(trained_state(tuner.network), tuner.observed)
            check_sound(kept.weights, point.step)
            write_when_free(self._hooks, partial(save_best, self._folder, kept))
            tuner.record.best = point

    def _check_patience(self, tuner: FineTuner) -> None:
        """End training that gets no better; a tie that only the loss decides is no better."""
        patience, points = tuner.run.trainer.patience, tuner.record.points
        task = tuner.run.task
        last_gain = points[0]
        for point in points:
            if task.better(point.metrics[task.metric], last_gain.metrics[task.metric]):
                last_gain = point
        if patience is not None and len(points) - 1 - points.index(last_gain) >= patience:
            reason = f"no better {task.metric} in {patience} validations"
            raise Stopped(Ending.finished, f"{reason}, the best at epoch {last_gain.epoch:g}")
