"""What a study loses to faults: finesweep and stock Optuna, with the same faults in the same run.

    python benchmarks/reliability.py --scale full --write

Workers are real processes, kills and stops are real signals, the databases are SQLite files and a
temporary PostgreSQL server; only the training is a toy (`faults/worker.py`). Stock Optuna uses
everything that its documentation offers: RDBStorage with a heartbeat and
RetryHeartbeatStaleTrialCallback, `optimize` in every process, MaxTrialsCallback for the budget, a
seeded TPESampler, and checkpoints from which retried trials resume. On both sides a process that
dies is restarted.

Prints a table, or with --json all measurements. Exits with 1 if finesweep lost anything.
Takes about 3 minutes at the small scale.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from faults.bench import POSTGRES, SCALES, SQLITE, Bench
from faults.fault import (
    exhaust,
    fill_disk,
    keep_budget,
    kill_all,
    kill_at_random,
    race_for_trials,
    race_to_reap,
    restart_server,
    return_no_number,
    seek_distinct,
    stop_and_continue,
)
from faults.loss import Found
from faults.postgres import Postgres, postgres_binaries
from faults.side import SIDES

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Row:
    """The results for one fault on one storage.

    Attributes:
        name: Its name for `--only`.
        fault: The fault as text.
        storage: `SQLite` or `PostgreSQL`.
        injected: How often, as text.
        finesweep: finesweep's result.
        stock: Stock Optuna's result.

    """

    name: str
    fault: str
    storage: str
    injected: str
    finesweep: Found
    stock: Found


BOTH = (SQLITE, POSTGRES)
Inject = Callable[[Bench, str, str], tuple[str, Found] | None]
FAULTS: dict[str, tuple[str, Inject, tuple[str, ...]]] = {
    "kill": ("workers killed at random (SIGKILL)", kill_at_random, BOTH),
    "dead": ("all workers killed at once, then the study inspected and resumed", kill_all, BOTH),
    "claim": ("workers race for queued trials", race_for_trials, BOTH),
    "reap": ("workers race to revive dead trials", race_to_reap, BOTH),
    "stop": ("worker stopped until replaced, then continued", stop_and_continue, BOTH),
    "disk": ("disk of database and checkpoints full, then freed", fill_disk, (SQLITE,)),
    "restart": ("database server restarted (`-m immediate`)", restart_server, (POSTGRES,)),
    "budget": ("budget shared by workers", keep_budget, BOTH),
    "distinct": ("workers share a sampler seed", seek_distinct, BOTH),
    "exhaust": ("space smaller than the budget", exhaust, BOTH),
    "nan": ("training diverges to NaN or infinity", return_no_number, BOTH),
}


def measure(
    bench: Bench, names: Sequence[str], storage_names: Sequence[str], unmeasured: list[str]
) -> Iterator[Row]:
    """Inject each fault into both sides on each storage; add failures to `unmeasured`."""
    for name in names:
        fault, inject, storages = FAULTS[name]
        for storage in [each for each in storages if each in storage_names]:
            if storage == POSTGRES and bench.server is None:
                print(f"{name}: PostgreSQL is not installed, skipped", file=sys.stderr)
                continue
            start = time.monotonic()
            try:
                results = [inject(bench, side, storage) for side in SIDES]
            except (AssertionError, OSError, EOFError) as error:
                traceback.print_exc()
                print(f"{name} on {storage} was not measured: {error}", file=sys.stderr)
                unmeasured.append(name)
                continue
            seconds = time.monotonic() - start
            if results[0] is None or results[1] is None:
                print(f"{name}: mounting a disk is not permitted, skipped", file=sys.stderr)
                continue
            row = Row(name, fault, storage, results[0][0], results[0][1], results[1][1])
            print(f"{name}, {seconds:.0f} s: {table([row]).splitlines()[-1]}", file=sys.stderr)
            yield row


def num_losses(result: Found) -> int:
    """Return the sum of all losses, which should be 0."""
    return sum(value for value in result.values() if isinstance(value, int))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = ["| fault | injected | finesweep | stock Optuna |", "|---|---|---|---|"]
    for row in rows:
        cells = (
            f"{row.fault}, {row.storage}",
            row.injected,
            result_text(row.finesweep),
            result_text(row.stock),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def result_text(result: Found) -> str:
    """Return the result of a side as text: first the losses, bold if not 0."""
    losses = {key: value for key, value in result.items() if isinstance(value, int)}
    words = [f"**{value} {key}**" for key, value in losses.items() if value]
    if not words:
        words = [f"0 {key}" for key in losses]
    words += [f"{key} {value}" for key, value in result.items() if isinstance(value, str)]
    return "; ".join(words)


def machine() -> str:
    """Return the machine and the versions of the measurement."""
    versions = [f"Python {platform.python_version()}", f"Optuna {optuna.__version__}"]
    versions.append(f"SQLite {sqlite3.sqlite_version}")
    binaries = postgres_binaries()
    if binaries is not None:
        versions.append(f"PostgreSQL {binaries.parent.name}")
    return f"{os.cpu_count()} cores; {', '.join(versions)}"


def write_page(text: str) -> None:
    """Write the table between its markers in the documentation."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    assert after, f"{PAGE}: the markers are missing"
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--only", default=",".join(FAULTS), help="names, separated by commas")
    parser.add_argument("--storage", choices=[*BOTH, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(FAULTS):
        parser.error(f"--only: {', '.join(sorted(unknown))} must be among {', '.join(FAULTS)}")
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storages = BOTH if arguments.storage == "both" else (arguments.storage,)
    binaries = postgres_binaries() if POSTGRES in storages else None
    server = Postgres(binaries) if binaries else None
    unmeasured: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="finesweep-reliability-") as folder:
            os.environ.setdefault("FINESWEEP_CACHE", f"{folder}/cache")
            bench = Bench(Path(folder), SCALES[arguments.scale], arguments.seed, server)
            try:
                rows = list(measure(bench, names, storages, unmeasured))
            finally:
                bench.end()
    finally:
        if server is not None:
            server.remove()
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        command = (
            f"python benchmarks/reliability.py --scale {arguments.scale} --seed {arguments.seed}"
        )
        text = f"```console\n$ {command}\n```\n\n{machine()}.\n\n{table(rows)}"
        print(text)
        if arguments.write:
            write_page(text)
    return int(bool(unmeasured) or any(num_losses(row.finesweep) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
