"""finesweep's process: a study of three short trials, one of each batch size, with times."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from finetune_parts.marks import Marks

from lightning_modules.outcome import Point
from search.cli.main import main
from search.worker import loop

MARKS = Marks()


class Timed(loop._Hooks):
    """The worker's own hooks, which also note the time."""

    def __init__(self, session: Any, attempt: Any, *rest: Any) -> None:
        MARKS.trial(session.study.plan.run(attempt.values).data.batch_size)
        super().__init__(session, attempt, *rest)

    def heartbeat(self, doing: str) -> None:
        super().heartbeat(doing)
        if doing == "starting to train":
            MARKS.begin()

    def on_step(self, step: int, num_steps: int) -> None:
        super().on_step(step, num_steps)
        MARKS.step()

    def on_validation(self, point: Point) -> str | None:
        reason = super().on_validation(point)
        MARKS.validation()
        return reason


if __name__ == "__main__":
    loop._Hooks = Timed  # type: ignore[misc]
    code = main(["sweep", *sys.argv[1:]])
    MARKS.write(Path.cwd())
    sys.exit(code)
