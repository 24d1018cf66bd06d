"""Seconds that a study loses to a W&B server that fails, against the same study offline.

    python benchmarks/wandb_faults.py            # 12 trials, 3 studies of each server
    python benchmarks/wandb_faults.py --quick    # 6 trials, 1 study of each
    python benchmarks/wandb_faults.py --server hang

A study of heads on frozen features (`data=reviews`) logs to a server on this machine that hangs,
refuses or closes connections, answers with errors or with an HTML page, or drips bytes; to one that
answers its first requests and then hangs, as a network does that breaks in the middle of a study;
and to one that works. Each study is a command of its own; they take turns, server by server.

"waits" are the seconds by the clock that the process that trains spends in W&B's calls: to open,
log, finish and close; without those in which it waits for a core that other programs have. "more"
is how many more than the offline study of the same turn had, "in" the call with most of them, and
"share" that number as a share of the offline study's seconds of a core, which is its time on a free
machine. "core" are the seconds of all processes of the command that have ended, W&B's own included.
"records" says whether every run of the study has the same local records as offline: its entries
with their names, and its end. At most 5 % is wanted of each server that fails; the one that hangs
later may cost, once a study, the 30 s that a slow server has to take the last runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from faults.wandb_record import wandb_records
from faults.wandb_server import FAULTS, wandb_server
from shared_parts.argument import parser_of

from lightning_modules.logger.upload import FINISH_SECONDS
from lightning_modules.logger.wandb import WandbLog, WandbLogs
from search.cli.main import main as finesweep

NUM_TRIALS, NUM_QUICK_TRIALS = 12, 6
REPETITIONS = 3
MOST = 0.05
WORDS = (
    *("study=s", "data=reviews", "strategy=feature_extraction", "search.certify=false"),
    "search.workers=0",
)
CALLS = (
    *((WandbLogs, name) for name in ("open", "close")),
    *((WandbLog, name) for name in ("log", "table", "line", "bars", "files", "finish")),
)
OFFLINE, WORKS, LATER = "offline", "works", "hangs later"
SERVERS = (OFFLINE, WORKS, *FAULTS, LATER)
QUEUED = Path("/proc/thread-self/schedstat")
NUM_ANSWERED = 8
"""Requests that the last one answers: it knows the key, and has got a part of the first run."""


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        waits: Seconds by the clock in W&B's calls, by name.
        cores: Seconds of a core of all processes.
        num_requests: What the server was asked.
        records: The local records of each run.

    """

    waits: Mapping[str, float]
    cores: float
    num_requests: int
    records: Sequence[Any]

    @property
    def waited(self) -> float:
        """The seconds in all calls."""
        return sum(self.waits.values())

    def longest(self, offline: Study) -> str:
        """Return the call in which it waits longer than offline by most."""
        return max(self.waits, key=lambda name: self.waits[name] - offline.waits.get(name, 0.0))


def run_study(server: str, num_trials: int, folder: Path) -> Study:
    """Run a study with that server, in a process and a folder of its own."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        fault = {OFFLINE: None, WORKS: None, LATER: "hang"}.get(server, server)
        num_healthy = NUM_ANSWERED if server == LATER else 0
        running = stack.enter_context(wandb_server(fault, num_healthy))
        environment = running.environment(str(folder)) | {"OMP_NUM_THREADS": "1"}
        if server == OFFLINE:
            environment["WANDB_MODE"] = "offline"
        words = [sys.executable, __file__, "--work", str(num_trials)]
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "log").read_text(encoding="utf-8")[-3000:])
    waits = json.loads((folder / "waits.json").read_text(encoding="utf-8"))
    runs = sorted((folder / "studies" / "s" / "wandb").glob("offline-run-*"))
    records = sorted((_record(run) for run in runs), key=str)
    cores = usage.ru_utime + usage.ru_stime
    return Study(waits, cores, len(running.paths), records)


def _record(run: Path) -> list[Any]:
    """Return what the local record of a run has: its name, its entries' keys, and its end."""
    found: list[Any] = []
    for record in wandb_records(run):
        if record["type"] == "run":
            found.append(record["run"]["display_name"])
        elif record["type"] == "history":
            found.append(sorted(record["history"]["item"]))
        elif record["type"] == "exit":
            found.append("exit")
    return found


def work(num_trials: int) -> int:
    """Run the study's command in this process, with timers; write the seconds to `waits.json`."""
    waits: dict[str, float] = defaultdict(float)
    for owner, name in CALLS:
        setattr(owner, name, _timed(getattr(owner, name), waits))
    code = finesweep(["sweep", *WORDS, f"search.num_trials={num_trials}"])
    Path("waits.json").write_text(json.dumps(waits), encoding="utf-8")
    return code


def _timed(call: Callable[..., Any], waits: dict[str, float]) -> Callable[..., Any]:
    @wraps(call)
    def timed(*arguments: Any, **named: Any) -> Any:
        began = _now()
        try:
            return call(*arguments, **named)
        finally:
            waits[call.__name__] += _now() - began

    return timed


def _now() -> float:
    """Return seconds by the clock; on Linux without those in which this thread waits for a core."""
    try:
        queued = int(QUEUED.read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        queued = 0.0
    return time.monotonic() - queued


def row(server: str, studies: Sequence[Study], offline: Sequence[Study]) -> tuple[str, bool]:
    """Return a line of the table, and whether the target is met."""
    pairs = list(zip(studies, offline, strict=True))
    more = [each.waited - other.waited for each, other in pairs]

    def share(num_allowed: float) -> float:
        found = zip(more, offline, strict=True)
        return statistics.median((each - num_allowed) / other.cores for each, other in found)

    is_whole = all(each.records == other.records for each, other in pairs)
    cells = [
        f"{server:11s}",
        f"{statistics.median(each.waited for each in studies):6.1f}",
        f"{statistics.median(more):+6.1f} ({min(more):+.1f} to {max(more):+.1f})",
        f"{studies[0].longest(offline[0]) if server != OFFLINE else '':6s}",
        f"{share(0.0):+6.1%}",
        f"{statistics.median(each.cores for each in studies):6.1f}",
        f"{max(each.num_requests for each in studies):8d}",
        "whole" if is_whole else "NOT WHOLE",
    ]
    is_short = share(FINISH_SECONDS if server == LATER else 0.0) <= MOST
    return " | ".join(cells), is_whole and (is_short or server in (OFFLINE, WORKS))


def main() -> int:
    parser = parser_of(__doc__, "6 trials, 1 study of each server")
    parser.add_argument("--server", choices=SERVERS[1:], help="only this one, against offline")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work is not None:
        return work(asked.work)
    servers = [OFFLINE, asked.server] if asked.server else SERVERS
    num_trials, repetitions = (NUM_QUICK_TRIALS, 1) if asked.quick else (NUM_TRIALS, REPETITIONS)
    studies: dict[str, list[Study]] = {server: [] for server in servers}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repetitions):
            for server in servers:
                place = Path(folder).resolve() / f"{server.replace(' ', '-')}-{number}"
                studies[server].append(run_study(server, num_trials, place))
    print(f"{num_trials} trials, seconds, median of {repetitions} (least to most)")
    head = [f"{'server':11s}", f"{'waits':>6s}", f"{'more':^22s}", f"{'in':6s}", "share "]
    print(" | ".join([*head, " core ", "requests", "records"]))
    missed = []
    for server, found in studies.items():
        line, is_met = row(server, found, studies[OFFLINE])
        print(line)
        if not is_met:
            missed.append(server)
    print(f"wanted: at most {MOST:.0%}, and whole records; missed: {', '.join(missed) or 'none'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
