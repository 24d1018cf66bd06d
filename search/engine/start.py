"""Start the worker processes of a study on this host, each with its cards and a log of its own.

Without a GPU, workers are forked from one process that has imported everything
(`search.worker.forkserver`); otherwise each is a new process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lightning_modules.error import Problem
from lightning_modules.machine.hardware import Device
from lightning_modules.model.files.trust import trust_arguments
from search.config.settings import SearchSettings
from search.machine.allocator import allocator
from search.machine.card import Taken, take
from search.machine.cpu import worker_threads
from search.machine.gpu import gpus
from search.study.study import Study
from search.worker.forkserver import Child, Forkserver

# -P: a folder "search" in the working folder must not shadow this package.
_WORKER = (sys.executable, "-P", "-m", "search.worker")
START_SECONDS = 120.0  # until a worker has imported everything
LOOK_SECONDS = 0.1  # between two looks for a free card


@dataclass(frozen=True)
class Started:
    """A new worker.

    Attributes:
        process: Its process.
        lifeline: The end of a pipe to it; it stops when the pipe closes, also if this process dies.
        events: The lines of its events (`search.worker.event`).

    """

    process: subprocess.Popen[bytes] | Child
    lifeline: int
    events: TextIO


class Starter:
    """Starts the workers of one study.

    Args:
        study: The study.
        num_workers: How many run at once; they share the cores.
        name: The prefix of their logs.
        tell: Takes what a user should know, e.g. that no card is free.
        is_stopping: Whether no worker is wanted any more.

    Attributes:
        forks: Whether workers are forked; set it once this process adopts their children.
        has_gpus: Whether the machine has GPUs.

    """

    def __init__(
        self,
        study: Study,
        num_workers: int,
        name: str,
        tell: Callable[[str], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self.forks = False
        self.has_gpus = bool(found := gpus())
        self._study = study
        self._num_workers = num_workers
        self._name = name
        self._tell = tell
        self._is_stopping = is_stopping
        trains_on_cpu = study.plan.default.trainer.device is Device.cpu
        self._gpus = [] if trains_on_cpu else found
        self._forkserver: Forkserver | None = None

    def start(self, number: int, card_seconds: float = 0.0) -> Started | None:
        """Start a worker; return None if no card becomes free within `card_seconds`."""
        cards = self._take_cards(number, card_seconds)
        if cards is None:
            return None
        reading, events = os.pipe()
        lifeline, held = os.pipe()
        log = self.log(str(number))
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            descriptors = lifeline, output.fileno(), events
            process = self._forked(*descriptors) or self._spawned(cards, *descriptors)
        os.close(events)
        os.close(lifeline)
        cards.release()  # the worker keeps them
        return Started(process, held, os.fdopen(reading, "r"))

    def log(self, of: str) -> Path:
        """Return the path of a log, of a worker by its number or of the forkserver."""
        return self._study.folder / "logs" / f"{self._name}-{of}.log"

    def no_card(self) -> Problem:
        """Return what is wrong if not even the first worker gets a card."""
        rule = f"a worker needs a free GPU, and all {len(self._gpus)} have that many workers"
        fix = "Wait until others end, see `finesweep status`, or raise it."
        per_device = self._settings.workers_per_device
        return Problem("search.workers_per_device", rule, per_device, fix)

    def close(self) -> None:
        """End the process that workers are forked from; they run on."""
        if self._forkserver is not None:
            self._forkserver.close()
            self._forkserver = None

    def _take_cards(self, number: int, seconds: float) -> Taken | None:
        """Return cards for a worker; None, with a note, if each has as many as it may have."""
        per_device = self._settings.workers_per_device
        num_devices = self._study.plan.default.trainer.devices
        latest = time.monotonic() + seconds
        while (cards := take(self._gpus, num_devices, per_device)) is None:
            if time.monotonic() > latest:
                taken = f"all {len(self._gpus)} GPUs have search.workers_per_device={per_device}"
                self._tell(f"worker {number} is not started: {taken}")
                return None
            time.sleep(LOOK_SECONDS)
        if cards.place > 0 and per_device is None:
            names = ", ".join(gpu.card for gpu in cards.gpus)
            self._tell(f"no GPU is free: worker {number} shares {names} with another")
        return cards

    def _forked(self, lifeline: int, output: int, events: int) -> Child | None:
        """Return a worker from the forkserver; None if it is not used, hangs or has died."""
        if not self.forks or self._is_stopping():
            return None
        if self._forkserver is None:
            with self.log("forkserver").open("ab") as said:
                command = [*_WORKER, str(self._study.folder), *trust_arguments()]
                self._forkserver = Forkserver(command, self._environment, said)
        latest = time.monotonic() + START_SECONDS
        worker = self._forkserver.fork(
            lifeline, output, events, lambda: self._is_stopping() or time.monotonic() > latest
        )
        if worker is None:
            self.close()
        return worker

    def _spawned(
        self, cards: Taken, lifeline: int, output: int, events: int
    ) -> subprocess.Popen[bytes]:
        """Return a worker in a new process, which must import everything first."""
        return subprocess.Popen(
            [*_WORKER, str(self._study.folder), str(events), *trust_arguments()],
            stdin=lifeline,
            stdout=output,
            stderr=output,
            pass_fds=[events, *cards.descriptors],
            env={**self._environment, **cards.environment},
            # Ctrl-C reaches only this process, which forwards it once.
            start_new_session=True,
        )

    @property
    def _settings(self) -> SearchSettings:
        return self._study.plan.search.settings

    @property
    def _environment(self) -> Mapping[str, str]:
        num_threads = worker_threads(self._num_workers)
        return {**allocator(), **os.environ, "OMP_NUM_THREADS": str(num_threads)}
