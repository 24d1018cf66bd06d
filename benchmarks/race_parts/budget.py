"""A command that is interrupted, as by Ctrl-C, when its time is used up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from search.machine.process import kill_tree

BENCHMARKS = Path(__file__).resolve().parents[1]
NUM_CORES = 2
POLL_SECONDS = 0.2
ORDERLY_SECONDS = 600.0
"""After the interrupt: peers predict the held-out rows then, and other work may be going on."""


@dataclass(frozen=True)
class Budget:
    """How much time a side has.

    Attributes:
        minutes: Minutes of the machine.
        by: `clock`; or `cores`, so that its processes together may use as many seconds of a core as
            two cores have in these minutes. That is fair on a machine that does other work, but a
            side that keeps only one core busy then has twice the time.

    """

    minutes: float
    by: str = "clock"

    def is_used(self, began: float, process: psutil.Process) -> bool:
        """Return whether the time is used up of a command that began at a time of the clock."""
        if self.by == "clock":
            return time.monotonic() - began >= 60 * self.minutes
        return cpu_seconds(process) >= 60 * self.minutes * NUM_CORES


def cpu_seconds(process: psutil.Process) -> float:
    """Return the seconds of a core of a process and its descendants, those that ended included."""
    seconds = 0.0
    try:
        every = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return seconds
    for each in every:
        try:
            seconds += sum(each.cpu_times()[:4])  # its own and its ended children's
        except psutil.NoSuchProcess:
            continue
    return seconds


@dataclass(frozen=True)
class Spent:
    """Seconds until a command ended or was interrupted, by the clock and of a core."""

    clock: float
    cores: float


def run(words: Sequence[str], folder: Path, budget: Budget) -> Spent:
    """Run a command until it ends or has used up its budget; its output goes to a file `log`.

    Raises:
        RuntimeError: It failed, or did not end after the interrupt.

    """
    roots = [str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    began, is_interrupted = time.monotonic(), False
    with (folder / "log").open("w", encoding="utf-8") as log:
        running = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    process, spent = psutil.Process(running.pid), Spent(0.0, 0.0)
    try:
        while running.poll() is None and not is_interrupted:
            spent = Spent(time.monotonic() - began, cpu_seconds(process) or spent.cores)
            if budget.is_used(began, process):
                running.send_signal(signal.SIGINT)
                is_interrupted = True
            else:
                time.sleep(POLL_SECONDS)
        code = running.wait(ORDERLY_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{words[0]} did not end after an interrupt") from error
    finally:
        kill_tree(running.pid)
    if code and not (is_interrupted and code in (128 + signal.SIGINT, -signal.SIGINT)):
        text = (folder / "log").read_text(encoding="utf-8")
        raise RuntimeError(f"{' '.join(words)}: exit code {code}\n{text[-3000:]}")
    return spent


def python(module: str, *words: object) -> list[str]:
    """Return the command that runs a module of the benchmarks."""
    return [sys.executable, "-m", module, *map(str, words)]
