"""The start of the command line, and the time to the first training step against HF's Trainer.

    python benchmarks/start.py            # every command, 7 times
    python benchmarks/start.py --quick    # 3 times

Each run is a new process, and all commands take turns, so that other load affects each equally.
The first table has commands that train nothing: 0.5 s are allowed for `--help`, 1 s for that of a
command, 2 s for `plan`; an empty interpreter shows the machine's load. The second table has the
seconds until the first optimizer step of the same fine-tuning is done (MiniLM, LoRA, 600 reviews,
batches of 16, bf16): by `finesweep train`, which by default also writes a W&B run, without that,
and by a script with HF's Trainer that writes none. Prints medians, the least and the most, by the
clock and of a core, and the ratio to the script in seconds of a core, which other load changes
less, of pairs that ran one after the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_parts.argument import parser_of

import lightning_modules
from search.config import build_run, compose

HERE = Path(__file__).parent
FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
REPETITIONS, NUM_QUICK = 7, 3
COMMANDS: Mapping[str, tuple[Sequence[str], float | None]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "finesweep --help": ([FINESWEEP, "--help"], 0.5),
    "finesweep sweep --help": ([FINESWEEP, "sweep", "--help"], 1.0),
    "finesweep plan": ([FINESWEEP, "plan"], 2.0),
}
# The command, ended at the place where the script's callback ends it.
FIRST_STEP = """
import os, sys
from search.cli import main, train

class First(train.RunHooks):
    def on_step(self, step, num_steps):
        os._exit(0)

train.RunHooks = First
sys.exit(main(["train", "run=first", *sys.argv[1:]]) or "the training ended without a step")
"""
REVIEWS = Path(lightning_modules.__file__).parent / "rows" / "reviews.jsonl"
PEER = "HF Trainer"
LARGEST_RATIO = 1.0
"""finesweep must not need more than the script to start, both without W&B."""


@dataclass(frozen=True)
class Took:
    """Seconds of a process, by the clock and of all cores together."""

    clock: float
    cores: float


def run(words: Sequence[str]) -> Took:
    """Run a command in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
        quiet = subprocess.DEVNULL
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=quiet, stderr=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        clock = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Took(clock, usage.ru_utime + usage.ru_stime)


def first_steps() -> Mapping[str, Sequence[str]]:
    """Return the commands that end after their first step."""
    ours = [sys.executable, "-c", FIRST_STEP]
    model = build_run(compose("train", []).tree).model.location()
    script = str(HERE / "start_parts" / "trainer.py")
    return {
        "finesweep train": ours,
        "finesweep train logger=none": [*ours, "logger=none"],
        PEER: [sys.executable, script, model, str(REVIEWS), "output"],
    }


def main() -> int:
    parser = parser_of(__doc__, "3 times")
    repetitions = NUM_QUICK if parser.parse_args().quick else REPETITIONS
    steps = first_steps()
    every = {**{name: words for name, (words, _) in COMMANDS.items()}, **steps}
    took: dict[str, list[Took]] = {name: [] for name in every}
    for _ in range(repetitions):
        for name, words in every.items():
            took[name].append(run(words))
    missed = 0
    for name, (_, bound) in COMMANDS.items():
        median = statistics.median(each.clock for each in took[name])
        if bound is None:
            print(f"{name:28s} {median:.2f} s")
        else:
            print(f"{name:28s} {median:.2f} s, {median / bound:.2f} of the {bound:g} s allowed")
            missed += median > bound
    print("to the first training step, by the clock and of a core:")
    for name in steps:
        clock = described([each.clock for each in took[name]])
        cores = [each.cores for each in took[name]]
        pairs = zip(cores, took[PEER], strict=True)
        ratio = statistics.median(ours / theirs.cores for ours, theirs in pairs)
        print(f"{name:28s} {clock}; {described(cores)}, {ratio:.2f} of {PEER}")
        missed += name.endswith("logger=none") and ratio > LARGEST_RATIO
    return int(missed > 0)


def described(values: Sequence[float]) -> str:
    """Return the median, the least and the most."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
