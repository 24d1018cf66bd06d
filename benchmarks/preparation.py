"""What many rows cost before the first step of `finesweep train`: the first time, and again.

    python benchmarks/preparation.py [--rows 1000000] [--long 1] [--csv] [--folder DIR] [--quick]

Writes a file of rows, the first words of a sentence of SST-2 and the last ones of another, so that
nearly all differ, and trains on it with an empty cache and once more, each time in a process of its
own that ends after its first optimizer step. Printed are the seconds until then, those of the
processor, and the most memory that the process had, in all and without the pages of files that it
has mapped, which the system takes back when others need them. Test and validation rows are drawn
from the file, a twentieth each. `--long 4` joins four such texts to one.

The target for a million rows is a minute the first time and 10 s the second, on 2 cores, and 4 GiB
for a gigabyte of CSV; it ends with exit code 1 above it. `--quick` has 50,000 rows.
Without the files of SST-2 in ../shared/data/sst2 it uses the embedded reviews.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from check import rows_of
from gpu_parts.call import ROOT
from shared_parts.argument import parser_of

BEGAN = "FINESWEEP_BENCHMARK_BEGAN"
FIRST_SECONDS, AGAIN_SECONDS, MAX_BYTES = 60, 10, 4 * 2**30
TARGET_ROWS = 1_000_000
FIELDS = ("text", "label")


def many_rows(number: int, num_joined: int = 1) -> Iterator[dict[str, str]]:
    """Yield so many rows, each of so many texts, which are of two sentences each."""
    draw = random.Random(0)
    rows = [(row["text"].split(), row["label"]) for row in rows_of("train")]
    for _ in range(number):
        texts = []
        for _ in range(num_joined):
            (one, label), (other, _) = draw.choice(rows), draw.choice(rows)
            texts.append(" ".join(one[: -(-len(one) // 2)] + other[len(other) // 2 :]))
        yield {"text": " ".join(texts), "label": label}


def write(path: Path, number: int, num_joined: int = 1) -> None:
    """Write rows as JSONL or CSV, by the path's ending."""
    rows = many_rows(number, num_joined)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def train(path: Path) -> None:
    """Train to the first step, print what it took, and end the process."""
    from lightning_modules.hooks import Hooks
    from search.config import compose
    from search.machine.quiet import import_training, quiet_process, quiet_training
    from search.trained.training import job_of, start
    from search.trained.training import train as train_job

    def end(step: int, num_steps: int) -> None:
        print(json.dumps({**taken(), "private": most[0]}), flush=True)
        os._exit(0)

    most = [0]
    threading.Thread(target=watch, args=(most,), daemon=True).start()
    quiet_process()
    quiet_training()
    words = ["data=files", f"data.train={path}", "data.validation_fraction=0.05"]
    words += ["data.test_fraction=0.05", "strategy=lora", "logger=none", "trainer.device=cpu"]
    job = job_of(compose("train", words))
    rows = start(job, lambda models: None)
    import_training()
    hooks = Hooks()
    hooks.on_step = end  # type: ignore[method-assign]
    train_job(job, rows, hooks)


def watch(most: list[int]) -> None:
    """Keep the most memory besides mapped files that the process has had, in bytes."""
    while True:
        most[0] = max(most[0], _status("RssAnon"))
        time.sleep(0.02)


def taken() -> dict[str, float]:
    """Return the seconds since the process was started, of the clock and the processor."""
    clock = time.time() - float(os.environ[BEGAN])
    return {"seconds": clock, "cpu": time.process_time(), "bytes": _status("VmHWM")}


def _status(name: str) -> int:
    """Return a value of Linux' table of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def in_process(path: Path, work: Path) -> dict[str, float]:
    """Measure one start in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FINESWEEP_CACHE": str(work / "cache"),
        BEGAN: str(time.time()),
    }
    command = [sys.executable, __file__, "--train", str(path)]
    done = subprocess.run(
        command, env=environment, cwd=work, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(name: str, found: dict[str, Any]) -> str:
    """Return a line of the table."""
    memory = f"{found['bytes'] / 1e6:>10,.0f} MB{found['private'] / 1e6:>14,.0f} MB"
    return f"{name:16}{found['seconds']:>9.1f}{found['cpu']:>17.1f}{memory}"


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = parser_of(__doc__, "50,000 rows")
    parser.add_argument("--rows", type=int, default=TARGET_ROWS, help="rows of the file")
    parser.add_argument("--long", type=int, default=1, help="texts that are joined to one")
    parser.add_argument("--csv", action="store_true", help="a CSV file in place of JSONL")
    parser.add_argument("--folder", type=Path, help="where to write; else a temporary folder")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.train is not None:
        train(given.train)
        return 0
    number = 50_000 if given.quick else given.rows
    with tempfile.TemporaryDirectory(prefix="finesweep-rows-", dir=given.folder) as name:
        path = Path(name, f"rows.{'csv' if given.csv else 'jsonl'}")
        write(path, number, given.long)
        num_bytes = path.stat().st_size
        print(f"{number:,} rows, {num_bytes / 1e6:,.0f} MB of {path.suffix}")
        print(f"{'until a step':16}{'seconds':>9}{'of the processor':>17}{'memory':>13}{'own':>17}")
        first = in_process(path, Path(name))
        print(line("first time", first), flush=True)
        again = in_process(path, Path(name))
        print(line("again", again))
    if first["private"] > MAX_BYTES:
        return 1
    is_slow = first["seconds"] > FIRST_SECONDS or again["seconds"] > AGAIN_SECONDS
    return int(number <= TARGET_ROWS and is_slow)


if __name__ == "__main__":
    sys.exit(main())
