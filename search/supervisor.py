"""Start workers, pass on what they tell, stop them in order; trains nothing itself."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from search.event import Event, Note, from_line

# glibc gives large buffers back to the kernel after every step and takes them again; keeping
# them made a training step on a CPU 1.02 to 1.3 times as fast.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**27),
}


@dataclass
class Supervisor:
    """Worker processes of one study on this host.

    Attributes:
        folder: The study's folder.
        num_workers: Processes to start, > 0.
        on_event: Hears every worker's events.

    """

    folder: Path
    num_workers: int
    on_event: Callable[[Event], None]
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self) -> int:
        """Work until every worker has ended; return 0, 1 (failure), 2 (input), 130 or 143."""
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with self._signals(events) as received:
            for number in range(self.num_workers):
                lines = os.fdopen(self._start(number), "r")
                threading.Thread(target=_read, args=(lines, events), daemon=True).start()
                if received:  # came while workers were being started
                    self._send(signal.SIGTERM)
            num_open = self.num_workers
            while num_open:
                event = events.get()
                if event is None:
                    num_open -= 1
                else:
                    self.on_event(event)
            codes = [worker.wait() for worker in self._workers]
        if received:
            return 128 + received[0]
        return self._exit_code(codes)

    def _start(self, number: int) -> int:
        """Start a worker; return the descriptor of its events."""
        reading, writing = os.pipe()
        log = self.folder / "logs" / f"worker-{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        num_threads = worker_threads(self.num_workers)
        with log.open("ab") as output:
            worker = subprocess.Popen(
                # -P: a folder called "search" where the user stands must not be taken for ours.
                [sys.executable, "-P", "-m", "search.worker", str(self.folder), str(writing)],
                stdin=subprocess.PIPE,  # closes when this process dies, and so tells the worker
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                env={**_MALLOC, **os.environ, "OMP_NUM_THREADS": str(num_threads)},
                # A Ctrl-C reaches this process alone, which passes it on once.
                start_new_session=True,
            )
        os.close(writing)
        self._workers.append(worker)
        return reading

    @contextmanager
    def _signals(self, events: queue.SimpleQueue[Event | None]) -> Iterator[list[int]]:
        received: list[int] = []

        def on_signal(number: int, frame: FrameType | None) -> None:
            received.append(number)
            again = len(received) > 1
            self._send(signal.SIGKILL if again else signal.SIGTERM)
            if not again:
                events.put(Note("stopping: saving checkpoints (Ctrl-C again ends at once)"))

        before = {
            number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield received
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _send(self, number: int) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(number)

    def _exit_code(self, codes: list[int]) -> int:
        for number, code in enumerate(codes):
            if code not in (0, 2):
                log = self.folder / "logs" / f"worker-{number}.log"
                what = f"was killed by signal {-code}" if code < 0 else "failed"
                self.on_event(Note(f"worker {number} {what}; its log: {log}"))
        if 2 in codes:
            return 2
        return 1 if any(codes) else 0


def worker_threads(num_workers: int) -> int:
    """Return the CPU threads of each worker: its share of the cores, less where the user says so.

    Three trainings of two threads on two cores take five times as long as of one thread each.
    """
    share = max(1, num_cores() // num_workers)
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else share


def num_cores() -> int:
    """Return the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(lines: TextIO, events: queue.SimpleQueue[Event | None]) -> None:
    try:
        with lines:
            for line in lines:
                if line.endswith("\n"):  # a killed worker leaves half a line
                    events.put(from_line(line))
    finally:
        events.put(None)
