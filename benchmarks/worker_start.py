"""The time to replace a worker: forked from the forkserver, or started as a new process.

Both sides start the real worker of the same study, in turns, and stop it once it has joined the
study, just before its first trial. Prints the median seconds of each and the private memory of the
worker at that moment (Linux' private pages), with their ratios.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import psutil

from search.config import compose
from search.machine.process import kill_tree
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.worker.event import Joined, from_line
from search.worker.forkserver import Child, Forkserver, adopting

REPETITIONS = 5
WORDS = ("study=s", "model=tiny", "logger=none", "search.num_trials=1")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(folder: Path, forkserver: Forkserver | None) -> tuple[float, int]:
    """Start a worker; return the seconds until it has joined, and its private bytes."""
    reading, events = os.pipe()
    lifeline, held = os.pipe()
    began = time.perf_counter()
    process: subprocess.Popen[bytes] | Child | None
    if forkserver is None:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "search.worker", str(folder), str(events)],
            stdin=lifeline,
            pass_fds=[events],
            env=ENVIRONMENT,
            start_new_session=True,
        )
    else:
        process = forkserver.fork(lifeline, 2, events, lambda: False)
        assert process is not None
    os.close(events)
    os.close(lifeline)
    with os.fdopen(reading) as lines:
        while not isinstance(from_line(lines.readline()), Joined):
            pass
        seconds = time.perf_counter() - began
        private = int(psutil.Process(process.pid).memory_full_info().uss)
        kill_tree(process.pid)
    process.wait()
    os.close(held)
    return seconds, private


def main() -> int:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as root, adopting() as is_adopting:
        if not is_adopting:
            print("workers are not forked on this system")
            return 0
        plan = build_plan(compose("sweep", WORDS))
        folder = study_folder(Path(root), plan.name)
        prepare_study(plan, folder, check_study(plan, folder))
        command = [sys.executable, "-P", "-m", "search.worker", str(folder)]
        forkserver = Forkserver(command, ENVIRONMENT, sys.stderr.buffer)
        start(folder, forkserver)  # waits for its imports, done once
        forked, spawned = [], []
        for _ in range(REPETITIONS):
            spawned.append(start(folder, None))
            forked.append(start(folder, forkserver))
        forkserver.close()
    medians = {
        name: [statistics.median(values) for values in zip(*measured, strict=True)]
        for name, measured in (("new process", spawned), ("forked", forked))
    }
    for name, (seconds, private) in medians.items():
        print(f"{name:20s} {seconds:5.2f} s to join, {private / 1e6:4.0f} MB private")
    (slow, large), (fast, small) = medians.values()
    print(
        f"a fork takes {slow / fast:.0f} times less time and {large / small:.1f} times less memory"
    )
    return int(fast >= slow)


if __name__ == "__main__":
    sys.exit(main())
