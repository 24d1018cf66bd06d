"""The memory of a worker: per parameter of a decoder, and by the number of long rows in a batch.

    python benchmarks/memory.py            # every case, some minutes
    python benchmarks/memory.py --quick    # four cases
    python benchmarks/memory.py --rows     # the second table alone
    python benchmarks/memory.py --trials   # the third table alone

Each case of the first table, of 0.1 billion parameters, is a process that trains a tiny model
first, so that everything is imported, and then two trials of the same random Llama, like a worker.
Printed are, over what the process took before: `resident`, the memory it keeps between two trials,
and `peak`, the most that it took, both divided by the number of the Llama's parameters; and
`saved`, what a step keeps from the forward for the backward pass besides the parameters. The
batches are small, so that the weights count.

The second table has the most that one training step and one validation batch take over what the
process took before. Each row has 1,024 tokens, and the model is tiny, so that the rows count: all
at once, or in micro-batches of 8,192 tokens, as under `trainer.micro_batch_tokens=auto` on a CPU.

The third table has the memory of a process that trains 200 trials one after the other, like a
worker, with learning rates, ranks and batch sizes that differ. `--quick` trains 60. The first 20
are not counted, in which libraries fill caches of their own. It may grow by a megabyte in 10
trials; else the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_parts.call import ROOT, Call
from shared_parts.argument import parser_of

from lightning_modules.machine.memory import keep_buffers

if TYPE_CHECKING:
    import torch

SIZE = "100m"
CASES = {
    "lora bf16": ("strategy=lora", "trainer.precision=bf16"),
    "lora bf16, dtype fp32": ("strategy=lora", "trainer.precision=bf16", "model.dtype=fp32"),
    "lora fp32": ("strategy=lora", "trainer.precision=fp32"),
    "lora fp32, dtype bf16": ("strategy=lora", "trainer.precision=fp32", "model.dtype=bf16"),
    "lora bf16, checkpointing": (
        *("strategy=lora", "trainer.precision=bf16", "trainer.gradient_checkpointing=true"),
    ),
    "full bf16": ("strategy=full", "trainer.precision=bf16"),
    "full bf16, dtype bf16": ("strategy=full", "trainer.precision=bf16", "model.dtype=bf16"),
    "full bf16, adamw_8bit": (
        *("strategy=full", "trainer.precision=bf16", "optimizer=adamw_8bit"),
    ),
}
if find_spec("bitsandbytes") is None:
    del CASES["full bf16, adamw_8bit"]
QUICK = tuple(CASES)[:2]
NUM_ROWS = (8, 16, 32, 64)
LIMITS = {"all at once": "null", "8,192 tokens": "auto"}
NUM_TRIALS, NUM_QUICK, NUM_FIRST = 200, 60, 20
MAX_GROWTH = 1e5
"""Bytes per trial."""
SMALL = ("data.batch_size=2", "data.max_length=32", "trainer.max_steps=2", "task.num_generated=0")


@dataclass
class Saved:
    """The tensors that a step keeps for its backward pass, by their place in memory."""

    parameters: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor, unless it is a parameter."""
        place = tensor.untyped_storage()
        if place.data_ptr() not in self.parameters:
            self.sizes[place.data_ptr()] = place.nbytes()
        return tensor

    @contextmanager
    def counting(self, network: Any) -> Iterator[None]:
        """Count what is kept inside the block."""
        import torch

        self.parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(self.keep, lambda tensor: tensor):
            yield


def write(work: Path) -> None:
    """Write the models and rows, which must not count as memory of a case."""
    from gpu_parts.llama import write_model, write_rows

    for size in ("tiny", SIZE):
        call = Call(size, on_cpu=True, work=work)
        write_model(call)
        write_rows(call)


def measure(words: tuple[str, ...], work: Path) -> dict[str, float]:
    """Train two trials in this process; return what they take."""
    from unittest.mock import patch

    from gpu_parts.training import make_run

    from lightning_modules.cache import Cache
    from lightning_modules.fit import fit
    from lightning_modules.logger.base import Identity
    from lightning_modules.machine.memory import free_memory
    from lightning_modules.module import FineTuner

    def trial(call: Call, name: str, cache: Cache) -> int:
        strategy = words[0].partition("=")[2]
        run = make_run(call, *SMALL, *words[1:], f"seed={len(name)}", strategy=strategy)
        folder = work / "runs" / f"{os.getpid()}-{name}"
        folder.mkdir(parents=True)
        outcome = fit(run, folder, Identity(name, None, folder), cache=cache)
        assert outcome.ending.value == "finished", outcome.reason
        free_memory()
        return outcome.num_parameters

    accumulate, saved = FineTuner._accumulate, Saved()

    def counted(tuner: FineTuner, batch: Any, size: int) -> Any:
        saved.sizes = {}
        with saved.counting(tuner.network):
            return accumulate(tuner, batch, size)

    trial(Call("tiny", on_cpu=True, work=work), "tiny", Cache())
    before, cache = _resident(), Cache()
    with patch.object(FineTuner, "_accumulate", counted):
        for name in ("a", "ab"):
            num_parameters = trial(Call(SIZE, on_cpu=True, work=work), name, cache)
    return {
        "parameters": num_parameters,
        "resident": (_resident() - before) / num_parameters,
        "peak": (_peak() - before) / num_parameters,
        "saved": sum(saved.sizes.values()) / 1e6,
    }


def measure_rows(num_rows: int, limit: str, work: Path) -> dict[str, int]:
    """Train two steps of long rows in this process; return the most that they take."""
    from unittest.mock import patch

    from gpu_parts.training import make_run

    from lightning_modules.fit import fit
    from lightning_modules.logger.base import Identity
    from lightning_modules.machine.memory import free_memory
    from lightning_modules.module import FineTuner

    peaks = {"training": 0, "validation": 0}

    def counted(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            free_memory()
            before = _resident()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # a new VmHWM
            result = act(*given)
            peaks[name] = max(peaks[name], _peak() - before)
            return result

        return run

    words = (
        f"data.batch_size={num_rows}",
        f"data.validation_fraction={num_rows / 400}",
        f"trainer.micro_batch_tokens={limit}",
        "trainer.max_steps=2",
        "task.num_generated=0",
    )
    run = make_run(Call("long", on_cpu=True, work=work), *words, strategy="full")
    folder = work / "runs" / f"{os.getpid()}-rows"
    folder.mkdir(parents=True)
    with (
        patch.object(FineTuner, "_accumulate", counted("training", FineTuner._accumulate)),
        patch.object(FineTuner, "_evaluate", counted("validation", FineTuner._evaluate)),
    ):
        outcome = fit(run, folder, Identity("rows", None, folder))
    assert outcome.ending.value == "finished", outcome.reason
    return peaks


def measure_trials(number: int, work: Path) -> dict[str, list[int]]:
    """Train so many trials in this process; return its memory after each."""
    from lightning_modules.cache import Cache
    from lightning_modules.fit import fit
    from lightning_modules.logger.base import Identity
    from lightning_modules.machine.memory import free_memory, freeze_imports
    from search.config import build_run, compose
    from search.machine.quiet import import_training, quiet_process, quiet_training

    quiet_process()
    quiet_training()
    import_training()
    freeze_imports()
    cache, found = Cache(), []
    for trial in range(number):
        words = [
            *("data=reviews", "model=tiny", "strategy=lora", "trainer.device=cpu", "logger=none"),
            *("trainer.max_steps=3", f"optimizer.lr={1e-4 * (1 + trial)}"),
            *(f"strategy.rank={2 ** (trial % 4)}", f"data.batch_size={4 + trial % 8}"),
        ]
        folder = work / "trials" / str(trial)
        folder.mkdir(parents=True)
        run = build_run(compose("train", words).tree)
        outcome = fit(run, folder, Identity(str(trial), None, folder), cache=cache)
        assert outcome.ending.value == "finished", outcome.reason
        free_memory()
        found.append(_resident())
    return {"bytes": found}


def _resident() -> int:
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    """Return a value of Linux' table of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def in_process(work: Path, *words: str) -> dict[str, Any]:
    """Measure a case in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *words, "--work", str(work)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Print the tables."""
    parser = parser_of(__doc__, "two cases of each table")
    parser.add_argument("--rows", action="store_true", help="the second table alone")
    parser.add_argument("--trials", action="store_true", help="the third table alone")
    # In processes of their own:
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--num-rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--limit", help=argparse.SUPPRESS)
    parser.add_argument("--num-trials", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.work)
        print(json.dumps({}))
        return
    keep_buffers()  # as workers do
    if options.case:
        print(json.dumps(measure(CASES[options.case], options.work)))
        return
    if options.num_rows:
        print(json.dumps(measure_rows(options.num_rows, options.limit, options.work)))
        return
    if options.num_trials:
        print(json.dumps(measure_trials(options.num_trials, options.work)))
        return
    with tempfile.TemporaryDirectory(prefix="finesweep-memory-") as work:
        if not (options.rows or options.trials):
            print_cases(QUICK if options.quick else tuple(CASES), Path(work))
        if not options.trials:
            print_rows(NUM_ROWS[1::2] if options.quick else NUM_ROWS, Path(work))
        if not options.rows and not print_trials(
            NUM_QUICK if options.quick else NUM_TRIALS, Path(work)
        ):
            sys.exit(1)


def print_cases(cases: Sequence[str], work: Path) -> None:
    """Print the bytes per parameter."""
    in_process(work, "--write")
    print(f"{'case':24}{'resident':>10}{'peak':>8}{'saved':>10}")
    for case in cases:
        found = in_process(work, "--case", case)
        print(
            f"{case:24}{found['resident']:>8.2f} B{found['peak']:>6.2f} B{found['saved']:>7.1f} MB",
            flush=True,
        )
    print(f"per parameter, of {found['parameters'] / 1e6:.0f} million; saved per step\n")


def print_rows(numbers: Sequence[int], work: Path) -> None:
    """Print what batches of long rows take."""
    print(f"{'rows of 1,024 tokens':24}{'micro-batches':16}{'training':>12}{'validation':>12}")
    for num_rows in numbers:
        for name, limit in LIMITS.items():
            found = in_process(work, "--num-rows", str(num_rows), "--limit", limit)
            training, validation = found["training"] / 1e6, found["validation"] / 1e6
            line = f"{num_rows:<24}{name:16}{training:>9.0f} MB{validation:>9.0f} MB"
            print(line, flush=True)


def print_trials(number: int, work: Path) -> bool:
    """Print the memory after trials; return whether it hardly grows."""
    found = in_process(work, "--num-trials", str(number))["bytes"]
    marks = [NUM_FIRST, *range(number // 4, number + 1, number // 4)]
    print(f"\n{'after trial':24}{'memory':>10}")
    for mark in dict.fromkeys(sorted(marks)):
        print(f"{mark:<24}{found[mark - 1] / 1e6:>7.1f} MB")
    growth = (found[-1] - found[NUM_FIRST - 1]) / (number - NUM_FIRST)
    print(f"growth per trial after {NUM_FIRST}: {growth / 1e3:.1f} kB")
    return bool(growth <= MAX_GROWTH)


if __name__ == "__main__":
    main()
