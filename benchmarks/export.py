"""The host memory and the time of an export: adapters merged into a decoder, and the file written.

    python benchmarks/export.py            # 0.1 and 1.2 billion parameters in bf16
    python benchmarks/export.py --quick    # 0.1 billion

A random Llama in bf16 is trained for a step with LoRA; then a new process exports it. It exports a
tiny model first, so that everything is imported. `peak` is the most memory that the process took
after that, over what it took then, divided by the bytes of the exported weights: 1 is one copy.
`private` leaves out the pages of files that are mapped into memory, which Linux drops if it needs
them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from gpu_parts.call import ROOT, Call
from shared_parts.argument import parser_of

CASES = (("100m", "lora"), ("100m", "full"), ("1b", "lora"))
NUM_QUICK = 2
SMALL = ("data.batch_size=1", "data.max_length=16", "trainer.max_steps=1", "task.num_generated=0")


class Peak:
    """The most private memory of this process while the context is open, read every 5 ms."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.num_bytes = max(self.num_bytes, status("RssAnon"))


def status(name: str) -> int:
    """Return a value of Linux' table of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def train(call: Call, strategy: str) -> Path:
    """Train a run of one step; return its folder."""
    from gpu_parts.training import make_run

    from lightning_modules.fit import fit
    from lightning_modules.logger.base import Identity

    run = make_run(call, *SMALL, "trainer.precision=bf16", strategy=strategy)
    folder = call.work / f"run-{call.size_name}-{strategy}"
    folder.mkdir()
    outcome = fit(run, folder, Identity("x", None, folder))
    assert outcome.ending.value == "finished", outcome.reason
    return folder


def export(call: Call, strategy: str) -> Path:
    """Export what `train` has trained; return the folder of the export."""
    from gpu_parts.training import make_run

    from search.trained.export import Trained, export

    run = make_run(call, *SMALL, "trainer.precision=bf16", strategy=strategy)
    folder = call.work / f"run-{call.size_name}-{strategy}"
    to = call.work / f"best-{call.size_name}-{strategy}"
    export(Trained(run, folder, "run x", {}, ""), to)
    return to


def measure(size: str, strategy: str, work: Path) -> dict[str, float]:
    """Export in this process; return what it takes."""
    from lightning_modules.machine.memory import free_memory

    export(Call("tiny", on_cpu=True, work=work), strategy)
    free_memory()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
    resident, private = status("VmRSS"), status("RssAnon")
    began = time.monotonic()
    with Peak() as peak:
        to = export(Call(size, on_cpu=True, work=work), strategy)
    seconds = time.monotonic() - began
    num_bytes = sum(path.stat().st_size for path in to.glob("*.safetensors"))
    return {
        "gigabytes": num_bytes / 1e9,
        "peak": (status("VmHWM") - resident) / num_bytes,
        "private": (peak.num_bytes - private) / num_bytes,
        "seconds": seconds,
    }


def in_process(mode: str, size: str, strategy: str, work: Path) -> str:
    """Run a part of this file in a process of its own; return the last line that it prints."""
    words = ["--mode", mode, "--size", size, "--strategy", strategy, "--work", str(work)]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return (done.stdout.splitlines() or [""])[-1]


def main() -> None:
    """Print a table of the cases."""
    parser = parser_of(__doc__, "the small model")
    parser.add_argument("--mode", choices=("train", "measure"), help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    parser.add_argument("--strategy", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        from lightning_modules.machine.memory import keep_buffers

        keep_buffers()  # as commands and workers do
    if options.mode == "train":
        train(Call(options.size, on_cpu=True, work=options.work), options.strategy)
        return
    if options.mode == "measure":
        print(json.dumps(measure(options.size, options.strategy, options.work)))
        return
    print(f"{'model':10}{'strategy':10}{'weights':>9}{'peak':>8}{'private':>9}{'seconds':>9}")
    with tempfile.TemporaryDirectory(prefix="finesweep-export-") as work:
        for strategy in ("lora", "full"):
            in_process("train", "tiny", strategy, Path(work))
        for size, strategy in CASES[: NUM_QUICK if options.quick else None]:
            in_process("train", size, strategy, Path(work))
            found = json.loads(in_process("measure", size, strategy, Path(work)))
            print(
                f"{size:10}{strategy:10}{found['gigabytes']:>6.2f} GB{found['peak']:>8.2f}"
                f"{found['private']:>9.2f}{found['seconds']:>9.1f}",
                flush=True,
            )
    print("peak and private: divided by the bytes of the exported weights")


if __name__ == "__main__":
    main()
