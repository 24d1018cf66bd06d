"""What a trial costs besides its steps and validations, by part.

One or two workers train heads on the frozen features of MiniLM (`data=reviews`, 700 rows), as a
sweep does, in studies that already have 20, 1,000 or 10,000 trials (copies, see growth.py). Timers
around the worker's own functions count each second once, in the innermost part:

- claim: to claim a trial and choose its values;
- storage: to store its start, validations, checkpoints and end, and whether it is pruned;
- note: its note and artifacts in the dashboard;
- prepare: its rows, tokens, features, network and checks;
- files: its outcome, tables, best weights and checkpoints, written and synced;
- log: W&B, offline;
- pass: forward and backward passes, no overhead;
- update: clipping and the optimizer's updates, no overhead;
- steps: the rest of training and validation batches, no overhead;
- rest: everything else, mostly Lightning's Trainer.

    python benchmarks/overhead.py [--quick]   # 20 trials, one worker
    python benchmarks/overhead.py --profile   # the same trials by function, without W&B

Prints medians over trials, in milliseconds of a core of the worker: waits for the disk and the work
of W&B's own process do not count, nor does what else runs on the machine. The profile's times are
some three times as long as without it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any

from growth import copy_trials, one_trial
from shared_parts.argument import parser_of

import lightning_modules.fit.training as fit_module
from lightning_modules.batch.passes import Alone
from lightning_modules.callback import best, checkpoint
from lightning_modules.logger import wandb
from lightning_modules.machine.memory import freeze_imports
from lightning_modules.module import FineTuner
from search.config import compose
from search.machine.quiet import quiet_process, quiet_training
from search.plan.build import build_plan
from search.storage.location import study_folder
from search.study.open import load_study
from search.study.prepare import check_study, prepare_study
from search.study.session import Session, join
from search.worker import loop
from search.worker.event import Ended, Event

SIZES = (20, 1000, 10_000)
NUM_WARM, NUM_TRIALS = 3, 10
WORDS = (
    *("study=s", "data=reviews", "strategy=feature_extraction", "search.confirm=0"),
    *("search.num_trials=100000", "trainer.epochs=5", "search/pruner=none", "search/space=none"),
    "optimizer.lr=tag(log,interval(1e-4,1e-2))",
)
STORED = ("began", "progress", "saved", "ended", "hand_back", "set_busy")
WORK = ("pass", "update", "steps")
"""The parts that are no overhead."""
STEPS = ("training_step", "validation_step", "on_validation_epoch_end")
PARTS: dict[str, Sequence[tuple[Any, str]]] = {
    "claim": [(Session, "next_attempts")],
    "storage": [(Session, name) for name in STORED],
    "note": [(loop, "show_trial"), (loop, "shown_of")],
    "prepare": [(loop, "load_rows"), (fit_module, "start_of"), (fit_module, "prepare")],
    "files": [
        *((best.BestFiles, "write_now"), (checkpoint, "write_checkpoint")),
        *((fit_module, "_write"), (fit_module, "review")),
    ],
    "log": [
        (wandb.WandbLogs, "open"),
        *((wandb.WandbLog, name) for name in ("log", "table", "line", "bars", "finish")),
    ],
    "pass": [(Alone, "run")],
    "update": [(FineTuner, "_update")],
    "steps": [(FineTuner, name) for name in STEPS],
}


class Timers:
    """Seconds of a core by part; a part inside another does not count for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def wrap(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a timer around it."""

        @wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return call(*arguments, **named)
            finally:
                spent = time.process_time() - began
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        return timed


def main() -> int:
    parser = parser_of(__doc__, "20 trials and one worker")
    parser.add_argument("--profile", action="store_true", help="by function, without W&B")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work is not None and asked.profile:
        profile(asked.work)
        return 0
    if asked.work is not None:
        print(json.dumps(work(asked.work)))
        return 0
    if asked.profile:
        outputs(SIZES[0], 1, ["logger=none"], ["--profile"])
        return 0
    cases = list(product(SIZES, (1, 2), (False, True)))
    if asked.quick:
        cases = [case for case in cases if case[:2] == (SIZES[0], 1)]
    names = [*PARTS, "rest"]
    head = " | ".join([*(f"{name:>7s}" for name in names), "besides the steps"])
    print("milliseconds of a core, medians over trials\n trials | workers | W&B | " + head)
    for size, workers, has_log in cases:
        parts = measured(size, workers, has_log=has_log)
        cells = " | ".join(f"{1000 * parts[name]:7.0f}" for name in names)
        besides = sum(parts.values()) - sum(parts[name] for name in WORK)
        shown = "on " if has_log else "off"
        print(f"{size:7d} | {workers:7d} | {shown} | {cells} | {1000 * besides:17.0f}", flush=True)
    return 0


def measured(size: int, workers: int, *, has_log: bool) -> dict[str, float]:
    """Return the seconds of each part of a trial."""
    logger = ["logger.mode=offline"] if has_log else ["logger=none"]
    found = outputs(size, workers, logger)
    trials = [trial for output in found for trial in json.loads(output.splitlines()[-1])]
    return {name: statistics.median(trial[name] for trial in trials) for name in (*PARTS, "rest")}


def outputs(
    size: int, workers: int, logger: Sequence[str], how: Sequence[str] = ()
) -> Sequence[str]:
    """Return what workers print that train trials in a study which has `size` of them."""
    with tempfile.TemporaryDirectory() as root:
        plan = build_plan(compose("sweep", [*WORDS, *logger]))
        folder = study_folder(Path(root), plan.name)
        study = prepare_study(plan, folder, check_study(plan, folder))
        session = join(study)
        for number in range(20):
            one_trial(session, 0.5 + number / 100)
        session.leave()
        copy_trials(load_study(folder), size)
        command = [sys.executable, __file__, "--work", str(folder), *how]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
            for _ in range(workers)
        ]
        return [process.communicate()[0] for process in running]


def work(folder: Path) -> list[dict[str, float]]:
    """Train a few trials as a worker does; return the seconds of each one's parts."""
    quiet_process()
    quiet_training()
    timers = Timers()
    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, timers.wrap(part, getattr(owner, name)))
    freeze_imports()
    trials: list[dict[str, float]] = []
    last = time.process_time()

    def emit(event: Event) -> None:
        nonlocal last
        if isinstance(event, Ended):
            spent, seconds = time.process_time() - last, dict(timers.seconds)
            rest = spent - sum(seconds.values())
            trials.append({**dict.fromkeys(PARTS, 0.0), **seconds, "rest": rest})
            timers.seconds.clear()
            last = time.process_time()

    session = join(load_study(folder))
    loop.work(session, lambda: len(trials) >= NUM_WARM + NUM_TRIALS, emit)
    session.leave()
    return trials[NUM_WARM:]


def profile(folder: Path) -> None:
    """Print where the seconds of a core of a few trials are, of all of them together."""
    quiet_process()
    quiet_training()
    freeze_imports()
    profiler, num_ended = cProfile.Profile(time.process_time), 0

    def emit(event: Event) -> None:
        nonlocal num_ended
        num_ended += isinstance(event, Ended)
        if isinstance(event, Ended) and num_ended == NUM_WARM:
            profiler.enable()

    session = join(load_study(folder))
    loop.work(session, lambda: num_ended >= NUM_WARM + NUM_TRIALS, emit)
    profiler.disable()
    session.leave()
    for order in ("cumulative", "tottime"):
        pstats.Stats(profiler, stream=sys.stderr).sort_stats(order).print_stats(60)


if __name__ == "__main__":
    sys.exit(main())
