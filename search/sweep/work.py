"""Train the remaining trials of a study, in this process or in workers."""

from __future__ import annotations

from collections.abc import Callable

from search.engine.local import LocalEngine
from search.report import results
from search.study.study import Study
from search.terminal.progress import quiet, shown
from search.worker.event import Event, Note

INTERRUPTED = (130, 143)
"""Exit codes of a study that was stopped by Ctrl-C, or by another signal."""


def train_remaining(study: Study, *, show: bool) -> tuple[int, str]:
    """Train the remaining trials; return the exit code and the workers' last message."""
    study.plan.default.logger.forget_failure(study.folder)
    num_left = results.status(study)["remaining"]
    if num_left == 0 or study.out_of_time is not None:
        return 0, ""
    notes = [""]
    with shown(study) if show else quiet(study) as on_event:

        def keep(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
            on_event(event)

        return _train_here_or_apart(study, num_left, keep), notes[-1]


def _train_here_or_apart(study: Study, num_left: int, on_event: Callable[[Event], None]) -> int:
    num_workers = study.plan.search.settings.workers
    if num_workers == 0:
        from search.worker.worker import work_here

        return work_here(study.folder, on_event)
    return LocalEngine(study, min(num_workers, num_left), on_event).run()
