"""Record whole training curves, on which the rules of the search are compared.

    python benchmarks/record.py                             # what is recorded
    python benchmarks/record.py train WORK --minutes 100    # resumable: a file a run, in WORK
    python benchmarks/record.py check WORK                  # recording changes no training
    python benchmarks/record.py pack WORK                   # WORK's runs as benchmarks/records/

A run is what a user with few rows does: `data=files` on a file of 400 (or 1,000) rows, which the
product splits by its own rule, MiniLM, one strategy, the default schedule, fp32, no pruning. At
each validation the logits of the validation rows are kept, and at some of them the same network
answers the truth: rows of the same text that are not in the file. `benchmarks/records/README.md`
describes the tables, `benchmarks/recorded/job.py` which runs there are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from recorded.job import PLANS, Family, families
from recorded.table import RECORDS, Records, load_records, pack
from recorded.text import Place
from shared_parts.argument import add_data

__all__ = ["RECORDS", "Records", "load_records"]


def train(place: Place, strategies: Sequence[str], num_processes: int, minutes: float) -> int:
    """Train all families, several at once, as far as time allows; return how many failed."""
    from recorded.train import prepare

    chosen = [each for each in families() if each.strategy in strategies]
    for text, num_rows in sorted({(each.text, each.num_rows) for each in chosen}):
        place.rows_file(text, num_rows)
    end, num_failed = time.time() + 60 * minutes, 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, prepare, (place.work,)) as executor:
        futures = {executor.submit(train_one, each, place, end): each for each in chosen}
        for future in as_completed(futures):
            if error := future.exception():
                num_failed += 1
                print(f"{futures[future].name} failed: {error!r}", flush=True)
    return num_failed


def train_one(family: Family, place: Place, end: float) -> None:
    """Train a family that is not there yet; begin none after `end`."""
    from recorded.train import record

    files = [place.run_file(family.run_name(epochs)) for epochs in family.lengths]
    if not all(file.is_file() for file in files) and time.time() < end:
        for line in record(family, place):
            print(time.strftime("%H:%M:%S"), line, flush=True)


def show(folder: Path) -> None:
    """Print how many runs of what are recorded."""
    if not (folder / "runs.parquet").is_file():
        print(f"nothing is recorded in {folder}")
        return
    runs = load_records(folder).runs
    counts = Counter(zip(runs["strategy"], runs["text"], runs["num_rows"], strict=True))
    for (strategy, text, num_rows), count in sorted(counts.items()):
        print(f"{strategy:18s} {text:12s} {num_rows:5d} rows  {count:3d} runs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = ("show", "train", "check", "pack")
    parser.add_argument("command", nargs="?", choices=commands, help="the default is show")
    parser.add_argument("work", nargs="?", type=Path, help="the work folder")
    add_data(parser)
    parser.add_argument("--records", type=Path, default=RECORDS, help="the folder of the tables")
    parser.add_argument(
        "--strategies", nargs="+", choices=PLANS, default=[*PLANS], help="only these"
    )
    parser.add_argument("--processes", type=int, default=2, help="families at once")
    parser.add_argument("--minutes", type=float, default=100, help="no family begins later")
    asked = parser.parse_args()
    if asked.command in (None, "show"):
        show(asked.records)
        return 0
    if asked.work is None:
        parser.error(f"{asked.command} must have a work folder")
    place = Place(asked.work.resolve(), asked.data.resolve())
    place.work.mkdir(parents=True, exist_ok=True)
    if asked.command == "train":
        return int(train(place, asked.strategies, asked.processes, asked.minutes) > 0)
    from recorded.train import prepare

    prepare(place.work)
    if asked.command == "check":
        from recorded.check import check

        return int(check(place) > 0)
    pack(place, asked.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
