"""The start time of the command line: 0.5 s for `--help`, 1 s for a command's, 2 s for `plan`.

Each run is a new process. They alternate with an empty interpreter, whose time shows the machine's
load. Prints the median of each and its ratio to the bound.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
REPETITIONS = 7
COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "finesweep --help": ([FINESWEEP, "--help"], 0.5),
    "finesweep sweep --help": ([FINESWEEP, "sweep", "--help"], 1.0),
    "finesweep plan": ([FINESWEEP, "plan"], 2.0),
}


def main() -> int:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPETITIONS):
            for name, (words, _) in COMMANDS.items():
                began = time.perf_counter()
                subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - began)
    missed = 0
    for name, (_, bound) in COMMANDS.items():
        median = statistics.median(seconds[name])
        if bound is None:
            print(f"{name:24s} {median:.2f} s")
        else:
            print(f"{name:24s} {median:.2f} s, {median / bound:.2f} of the {bound:g} s allowed")
            missed += median > bound
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
