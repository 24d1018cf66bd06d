"""What one training prints while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from lightning_modules.hooks import Hooks
from lightning_modules.outcome import Point
from lightning_modules.run import Run
from search.report.text import trained
from search.terminal.live import RunProgress


class RunHooks(Hooks):
    """Shows a run's progress and checks whether to interrupt it."""

    def __init__(
        self,
        run: Run,
        interrupted: Callable[[], bool],
        progress: RunProgress | None,
        notes: Sequence[str] = (),
    ) -> None:
        self._metric = run.task.metric
        self._strategy = run.flat()["strategy"]
        self._interrupted = interrupted
        self._progress = progress
        self._notes = notes

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        if self._progress is not None:
            for note in self._notes:
                self._progress.point(note)
            self._progress.point(trained(self._strategy, num_trainable, num_parameters))

    def on_step(self, step: int, num_steps: int) -> None:
        if self._progress is not None:
            self._progress.step(step, num_steps)

    def on_validation(self, point: Point) -> str | None:
        if self._progress is not None:
            value = point.metrics[self._metric]
            losses = f"validation loss {point.validation_loss:.4f}"
            if point.step:
                losses = f"loss {point.train_loss:.4f}, validation {point.validation_loss:.4f}"
            self._progress.point(f"epoch {point.epoch:g}  {self._metric} {value:.4f}  {losses}")
        return None

    def warn(self, text: str) -> None:
        if self._progress is not None:
            self._progress.point(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def interrupted(self) -> bool:
        return self._interrupted()
