"""Studies on one card: two workers that share it, and a study that is killed and continued."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_parts.call import ROOT, Call, report, require
from gpu_parts.training import overrides

from lightning_modules.folder import OUTCOME_FILE
from search.machine.process import kill_tree

POLL_SECONDS = 0.5
WAIT_SECONDS = {"cuda": 60.0, "cpu": 240.0}
# The third of two workers: the one before it is in the database, and not only on disk.
NUM_BEFORE_KILL = 3
# Messages of a study that starts an interrupted trial again.
RESTARTS = ("resumes from its checkpoint", "starts again without a checkpoint", "starts over")


def two_workers(call: Call) -> None:
    """Run the same four trials with one worker, then with two on the same card."""
    small = call.of_study()
    for num_workers in (1, 2):
        name = f"workers{num_workers}"
        words = sweep(small, name, "search.num_trials=4", f"search.workers={num_workers}")
        began, log, num_on_gpu = time.monotonic(), call.work / f"{name}.txt", 0
        process = start(call, words, log)
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            num_on_gpu = max(num_on_gpu, len(gpu_processes(call)))
        seconds = time.monotonic() - began
        states = trial_states(call, name)
        report(
            kind="workers",
            workers=num_workers,
            exit_code=process.returncode,
            seconds=round(seconds, 1),
            processes_on_gpu=num_on_gpu,
            states=states,
            summary=summary_of(lines_of(log)),
        )
        check_complete(process.returncode, states, 4)


def kill_and_continue(call: Call) -> None:
    """Kill a study of six trials with its workers in the middle, then run the same command."""
    name = "killed"
    more = ("search.num_trials=6", "search.workers=2", "trainer.checkpoint_seconds=2")
    words = sweep(call.of_study(), name, *more)
    first, second = call.work / "killed-1.txt", call.work / "killed-2.txt"
    process = start(call, words, first)
    wait_for_outcomes(process, call, call.work / "studies" / name / "trials")
    was_running = process.poll() is None
    if was_running:
        kill_tree(process.pid)
        process.wait()
    before = trial_states(call, name)
    code = start(call, words, second).wait()
    after = trial_states(call, name)
    printed = lines_of(second)
    report(
        kind="killed",
        was_running=was_running,
        before=before,
        exit_code=code,
        after=after,
        summary=summary_of(printed),
        restarts=[line for line in printed if any(each in line for each in RESTARTS)][:3],
        processes_left_on_gpu=gpu_processes(call),
    )
    require(was_running, "the study must still run when it is killed")
    check_complete(code, after, 6)


def wait_for_outcomes(process: subprocess.Popen[bytes], call: Call, trials: Path) -> None:
    """Wait until some trials have ended, or the process has, or the wait has been too long."""
    until = time.monotonic() + WAIT_SECONDS[call.device]
    while process.poll() is None and time.monotonic() < until:
        if len(list(trials.glob(f"*/*/{OUTCOME_FILE}"))) >= NUM_BEFORE_KILL:
            return
        time.sleep(POLL_SECONDS)


def check_complete(exit_code: int, states: Any, num_trials: int) -> None:
    """Fail the part unless the study ended with all its trials complete."""
    is_complete = isinstance(states, dict) and states.get("complete") == num_trials
    require(exit_code == 0 and is_complete, f"all {num_trials} trials must complete")


def sweep(call: Call, name: str, *more: str) -> list[str]:
    """Return the command that runs a study; remove the one of an earlier call."""
    shutil.rmtree(call.work / "studies" / name, ignore_errors=True)
    return [
        sys.executable,
        str(ROOT / "scripts" / "sweep.py"),
        f"study={name}",
        *overrides(call),
        "search/pruner=none",
        "search.certify=false",
        "optimizer.lr=tag(log,interval(1e-4,3e-3))",
        "trainer.max_steps=20",
        *more,
    ]


def start(call: Call, words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command that writes its output to a file."""
    with log.open("wb") as file:
        return subprocess.Popen(
            words,
            cwd=call.work,
            env=call.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def lines_of(log: Path) -> list[str]:
    """Return what a command printed."""
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()


def summary_of(lines: list[str]) -> str:
    """Return the line that counts trials, e.g. `4 complete; 7.7 s of training`, or the last."""
    return next((line for line in lines if " complete" in line), "".join(lines[-1:]))


def trial_states(call: Call, name: str) -> dict[str, int] | str:
    """Return a study's number of trials by state, or what `status` printed instead."""
    code = "import sys; from search.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "status", f"study={name}", "--json"]
    done = subprocess.run(
        words,
        cwd=call.work,
        env=call.environment(),
        text=True,
        capture_output=True,
        check=False,
    )
    try:
        states: dict[str, int] = json.loads(done.stdout)["states"]
    except (ValueError, KeyError):
        return (done.stdout + done.stderr)[-400:]
    return states


def gpu_processes(call: Call) -> list[str]:
    """Return the ids of the processes on the card; none without one."""
    if call.on_cpu:
        return []
    words = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    return subprocess.run(words, text=True, capture_output=True, check=False).stdout.split()
