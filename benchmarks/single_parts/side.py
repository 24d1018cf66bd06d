"""A side of the comparison: a process that trains a run whenever it is asked to, and waits else.

So both sides have a process of their own, with its settings and its imports, and still alternate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from single_parts.job import Job

BENCHMARKS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Took:
    """Seconds of a run, by the clock and of all cores together."""

    clock: float
    cores: float


class Stopwatch:
    """Measures a run in the process that trains it, between `start` and the last `stop`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin to measure."""
        self._began = self._ended = self._now()

    def stop(self) -> None:
        """End the measurement, until there is a later call."""
        self._ended = self._now()

    @property
    def took(self) -> Took:
        """What was measured."""
        clock, cores = (end - began for began, end in zip(self._began, self._ended, strict=True))
        return Took(clock, cores)

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


class Side:
    """The process of a side, seen from the benchmark.

    Args:
        module: The module that it runs, which calls `serve`.
        folder: Where it works.

    """

    def __init__(self, module: str, folder: Path) -> None:
        roots = [str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
        self._errors = folder / f"{module}.log"
        with self._errors.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def train(self, job: Job) -> Took:
        """Train the job's run there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(job.line() + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._errors.read_text(encoding="utf-8")[-3000:])
        return Took(*json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(train: Callable[[Job], Took]) -> None:
    """Answer each job on the standard input with what it took, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        print(json.dumps(astuple(train(Job.of(line)))), file=answers, flush=True)
