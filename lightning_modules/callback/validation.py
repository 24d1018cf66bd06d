"""Validations: when they happen, and what happens with their results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_modules.callback.best import Best, BestFiles
from lightning_modules.callback.checkpoint import check_finite
from lightning_modules.machine.lightning import pl
from lightning_modules.model.state import trained_state
from lightning_modules.outcome import Ending, Point, Stopped
from lightning_modules.task.select import chosen_by
from lightning_modules.trainer import Select

if TYPE_CHECKING:
    from lightning_modules.callback.checkpoint import Checkpointing
    from lightning_modules.hooks import Hooks
    from lightning_modules.logger.base import RunLog
    from lightning_modules.module import FineTuner
    from lightning_modules.task.base import Task


def is_better(point: Point, best: Point, task: Task, select: Select = Select.metric) -> bool:
    """Return whether `point` is better than `best`: by the rule's metrics, on a tie by the loss.

    A metric with few possible values, e.g. accuracy on 40 rows, ties often; the loss still shows
    how confident the right answers are.
    """
    for name in chosen_by(select, task):
        value, best_value = point.metrics[name], best.metrics[name]
        if value != best_value:
            is_maximized = task.goals[name] == "maximize"
            return value > best_value if is_maximized else value < best_value
    return point.validation_loss < best.validation_loss


class ValidationTimes(pl.Callback):
    """Makes Lightning validate after the steps that `Length.validation_steps` returned."""

    def __init__(self, steps: Mapping[int, float]) -> None:
        self._steps = steps

    def on_train_batch_start(
        self, trainer: pl.Trainer, tuner: Any, batches: Any, batch_idx: int
    ) -> None:
        # Lightning validates when (batch_idx + 1) is a multiple of val_check_batch. A fixed
        # interval would miss the ends of epochs.
        is_due = tuner.record.step + len(batches) in self._steps
        trainer.val_check_batch = batch_idx + 1 if is_due else batch_idx + 2


class Validation(ValidationTimes):
    """Records each validation, keeps the best one, and ends the run if it should stop."""

    def __init__(
        self,
        files: BestFiles,
        steps: Mapping[int, float],
        num_train: int,
        log: RunLog,
        checkpointing: Checkpointing,
        hooks: Hooks,
    ) -> None:
        super().__init__(steps)
        self._files = files
        self._num_train = num_train
        self._log = log
        self._checkpointing = checkpointing
        self._hooks = hooks
        self._began = 0.0

    def on_validation_start(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._began = tuner.passes.now()

    def on_validation_end(self, trainer: pl.Trainer, tuner: Any) -> None:
        self._checkpointing.update_seconds(tuner)
        tuner.record.validation_seconds = tuner.passes.now() - self._began
        point = self._point(tuner)
        scores = {"validation loss": point.validation_loss, **point.metrics}
        for name, score in scores.items():
            if not math.isfinite(score):
                raise Stopped(Ending.diverged, f"the {name} became {score} at step {point.step}")
        train_loss = {"train/mean_loss": point.train_loss} if tuner.record.num_losses else {}
        tuner.reset_loss()
        tuner.record.points.append(point)
        self._log.log(
            {
                **train_loss,
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
        run = tuner.run
        if best is None or is_better(point, best, run.task, run.trainer.select):
            kept = Best(trained_state(tuner.network), tuner.observed)
            check_finite(kept.weights, point.step)
            self._files.put(kept)
            tuner.record.best = point

    def _check_patience(self, tuner: FineTuner) -> None:
        """End training if the metric stops improving; a lower loss on a tie does not count."""
        patience, points = tuner.run.trainer.patience, tuner.record.points
        task = tuner.run.task
        last_gain = points[0]
        for point in points:
            if task.better(point.metrics[task.metric], last_gain.metrics[task.metric]):
                last_gain = point
        if patience is not None and len(points) - 1 - points.index(last_gain) >= patience:
            validations = "validation" if patience == 1 else "validations"
            reason = f"no better {task.metric} in {patience} {validations}"
            raise Stopped(Ending.finished, f"{reason}; the best was at epoch {last_gain.epoch:g}")
