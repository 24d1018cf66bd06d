"""finesweep's side: trains runs as `finesweep train` and workers do."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from single_parts.case import make_run
from single_parts.job import Job
from single_parts.side import Stopwatch, Took, serve

from lightning_modules.cache import Cache
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine.memory import freeze_imports, keep_buffers
from lightning_modules.outcome import Ending, Point
from search.machine.quiet import import_training


class Timed(Hooks):
    """Measures from the built network to the last validation."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self.watch.start()

    def on_validation(self, point: Point) -> str | None:
        self.watch.stop()
        return None


def train(job: Job) -> Took:
    """Train a run; return what it took. Nothing is kept from an earlier one."""
    run, timed = make_run(job.name, job.num_rows, Path.cwd(), job.words), Timed()
    with TemporaryDirectory(dir=Path.cwd()) as name:
        outcome = fit(run, Path(name), Identity("single", None, Path(name)), timed, Cache())
    assert outcome.ending is Ending.finished, outcome.reason
    return timed.watch.took


if __name__ == "__main__":
    keep_buffers()
    import_training()
    freeze_imports()
    serve(train)
