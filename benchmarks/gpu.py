"""Prove the GPU path on one card: speed, memory, faults and export, in fourteen parts.

    python benchmarks/gpu.py --size 1b --seconds 560      # on a card, about 9 minutes on an H200
    python benchmarks/gpu.py --size tiny --cpu            # try the script itself, without a card

Each part is a process with a time limit. Everything is made here (random weights, random rows), so
nothing needs the network. `report.json` is rewritten after each part: if the call is cut off, it
has all that was measured. Ends with 1 if a part failed, or if no time was left for it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_parts.call import ROOT, SIZES, Call, results_of

LIMITS = {
    "env": 40,  # versions, matmul speed; writes the models
    "tests": 90,  # the tests marked gpu
    "speed": 110,  # LoRA as it is
    "plain": 80,  # LoRA in transformers' Trainer with PEFT
    "variants": 110,  # LoRA on a bf16 base
    "options": 150,  # LoRA with gradient checkpointing, compiled layers, 8-bit AdamW
    "waits": 50,  # what makes the host wait for the card in a step
    "packed": 80,  # a prototype: several LoRA trials on one base
    "oom": 80,  # a batch that does not fit into memory
    "resume": 90,  # a run that is stopped and resumed
    "two": 90,  # one worker, then two, on one card
    "kill": 110,  # a study that is killed and continued
    "qlora": 70,  # 4-bit weights
    "export": 80,  # the exported model in plain transformers
}
"""Seconds that each part may take on a card."""

CPU_LIMIT_FACTOR = 6.0
MIN_SECONDS = 15.0
NUM_SHOWN_LINES = 25


def run_part(name: str, call: Call) -> None:
    """Run one part in this process; a part that fails raises."""
    # They import torch, which the process that starts the parts has no use for.
    from gpu_parts import export, fault, machine, packed, speed, step, study

    parts = {
        "env": machine.environment,
        "tests": machine.gpu_tests,
        "speed": speed.lora,
        "plain": speed.plain_lora,
        "variants": speed.variants,
        "options": step.options,
        "waits": step.waits,
        "packed": packed.packed_lora,
        "oom": fault.out_of_memory,
        "resume": fault.resume,
        "two": study.two_workers,
        "kill": study.kill_and_continue,
        "qlora": speed.qlora,
        "export": export.export,
    }
    parts[name](call)


def start_part(name: str, call: Call, max_seconds: float) -> dict[str, Any]:
    """Run one part in a process for at most `max_seconds`; return its entry in the report."""
    from search.machine.process import kill_tree

    words = [sys.executable, "-u", __file__, "--part", name, *call.words()]
    log = call.work / f"{name}.log"
    began = time.monotonic()
    timed_out = False
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            words,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=call.environment(),
        )
        try:
            process.wait(max_seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            if process.poll() is None:  # also if this process is interrupted
                kill_tree(process.pid)
                process.wait()
    output = log.read_text(encoding="utf-8", errors="replace")
    entry: dict[str, Any] = {
        "exit_code": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "results": results_of(output),
    }
    if timed_out:
        entry["timed_out_after"] = round(max_seconds, 1)
    if process.returncode:
        entry["tail"] = output.splitlines()[-NUM_SHOWN_LINES:]
    return entry


def run_parts(names: list[str], call: Call, options: argparse.Namespace) -> int:
    """Run the parts one after another and write the report; return the exit code."""
    report: dict[str, Any] = {}
    began = time.monotonic()
    for name in names:
        left = options.seconds - (time.monotonic() - began)
        if left < MIN_SECONDS:
            report[name] = {"skipped": "no time left"}
        else:
            limit = LIMITS[name] * options.limit_factor
            report[name] = start_part(name, call, min(left, limit))
        show(name, report[name])
        text = json.dumps(report, indent=1)
        (options.out / "report.json").write_text(text, encoding="utf-8")
    missed = [name for name, entry in report.items() if entry.get("exit_code") != 0]
    print(f"{len(report) - len(missed)} of {len(report)} parts passed", end="")
    print(f"; not {', '.join(missed)}" if missed else "")
    return int(bool(missed))


def show(name: str, entry: dict[str, Any]) -> None:
    """Print what a part came to."""
    if "skipped" in entry:
        print(f"== {name}: skipped, {entry['skipped']}", flush=True)
        return
    verdict = "passed" if entry["exit_code"] == 0 else f"failed, exit code {entry['exit_code']}"
    if "timed_out_after" in entry:
        verdict = f"killed after {entry['timed_out_after']} s, its limit"
    print(f"== {name}: {verdict}, {entry['seconds']} s", flush=True)
    for result in entry["results"]:
        print(f"   {json.dumps(result)}", flush=True)
    for line in entry.get("tail", ()):
        print(f"   | {line}", flush=True)


def has_gpu() -> bool:
    """Return whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and the names of the parts to run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="1b", help="of the random Llama")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU, to try the script")
    parser.add_argument("--seconds", type=float, default=540, help="limit of the whole call")
    parser.add_argument("--only", default=",".join(LIMITS), help="parts, separated by commas")
    parser.add_argument(
        "--limit-factor",
        type=float,
        help="multiplies each part's limit; default 1, or 6 with --cpu",
    )
    parser.add_argument(
        "--work", type=Path, help="folder to keep models in; default a temporary one"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=os.environ.get("OUT", "."),
        help="folder for report.json; default $OUT",
    )
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)  # in a part's process
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in LIMITS]:
        parser.error(f"--only: must be in {', '.join(LIMITS)}, got {', '.join(unknown)}")
    if options.limit_factor is None:
        options.limit_factor = CPU_LIMIT_FACTOR if options.cpu else 1.0
    return options, names


def main() -> int:
    options, names = parse()
    if options.part:
        run_part(options.part, Call(options.size, options.cpu, options.work))
        return 0
    if not options.cpu and not has_gpu():
        print("no GPU: nothing measured; --cpu tries the script itself")
        return 0
    sys.path.insert(0, str(ROOT))  # a machine lent for minutes has finesweep as a folder only
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        return run_parts(names, Call(options.size, options.cpu, options.work.resolve()), options)
    with tempfile.TemporaryDirectory(prefix="finesweep-gpu-", ignore_cleanup_errors=True) as work:
        return run_parts(names, Call(options.size, options.cpu, Path(work)), options)


if __name__ == "__main__":
    sys.exit(main())
