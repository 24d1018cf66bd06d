"""A short measured try of every arm: seconds an example, start-up seconds, peak memory.

Each arm has a process of its own, `python -m search.estimate.measure`, so that its peak is its own
and all of it is given back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.run import Run
from search.estimate.estimate import Measured, Pace
from search.machine.cpu import MALLOC, worker_threads
from search.plan.plan import Plan
from search.space.space import Options

# They decide how much goes through the network at once, and so the peak.
SIZES = ("data.batch_size", "data.max_length", "trainer.micro_batch_size")


class ProbeFailed(Exception):
    """The probe's process broke, for a reason that is none of the configuration's."""


def probe(
    plan: Plan,
    on_arm: Callable[[Options], None] = lambda options: None,
    on_built: Callable[[str, int, int], None] = lambda *_: None,
) -> Measured:
    """Measure every arm, each in a process of its own; the study's folder stays as it is.

    Args:
        plan: The study's.
        on_arm: Hears which arm is measured next.
        on_built: Hears of each arm's strategy, and how many of how many parameters it trains.

    Raises:
        UserError: Data or model cannot be used, or a batch does not fit.
        ProbeFailed: A process broke.

    """
    import psutil

    busy = psutil.cpu_percent(interval=0.5) / 100
    told: dict[Options, dict[str, Any]] = {}
    for options in plan.defaults:
        on_arm(options)
        told[options] = _measure_apart(plan, options)
        arm = told[options]
        strategy = plan.defaults[options].flat()["strategy"]
        if arm["num_parameters"]:
            on_built(strategy, arm["num_trainable"], arm["num_parameters"])
    greediest = max(told, key=lambda options: int(told[options]["memory_bytes"]))
    return Measured(
        paces={
            options: Pace(
                arm["train"], arm["validation"], arm["start"], arm["memory_bytes"], arm["epoch"]
            )
            for options, arm in told.items()
        },
        start=max(arm["worker_start"] for arm in told.values()),
        device=told[greediest]["device"],
        free_bytes=min(arm["free_bytes"] for arm in told.values()),
        busy=busy,
        sizes=sizes(plan.run(largest(plan, greediest))),
    )


def largest(plan: Plan, options: Options) -> dict[str, Any]:
    """Return values of the arm that take the most memory: its options and its largest sizes."""
    values: dict[str, Any] = dict(zip(plan.space.groups, options, strict=True))
    for path in SIZES:
        if path in plan.space.arms[options]:
            distribution: Any = plan.space.arms[options][path].distribution
            choices = getattr(distribution, "choices", None)
            values[path] = max(choices) if choices else distribution.high
    return values


def sizes(run: Run) -> dict[str, int]:
    """Return how much goes through the network at once."""
    values = run.flat()
    size = "trainer.micro_batch_size"
    path = "data.batch_size" if values[size] is None else size
    return {path: values[path], "data.max_length": values["data.max_length"]}


def _measure_apart(plan: Plan, options: Options) -> dict[str, Any]:
    asked = {"composition": plan.composition.as_dict(), "options": options}
    environment = {**MALLOC, **os.environ}
    if plan.search.settings.workers:
        environment["OMP_NUM_THREADS"] = str(worker_threads(plan.search.settings.workers))
    # Not the process's own: one that runs out of memory is killed, and would leave it behind.
    with TemporaryDirectory(prefix="finesweep-probe-") as folder:
        # Rows of a sample, once tokenized, are of no use to anybody.
        environment["FINESWEEP_CACHE"] = str(Path(folder, "cache"))
        done = subprocess.run(
            # -P: a folder called "search" where the user stands must not be taken for ours.
            [sys.executable, "-P", "-m", "search.estimate.measure"],
            input=json.dumps({**asked, "folder": folder}),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    if done.returncode == -9:
        raise ConfigError(too_large(plan.run(largest(plan, options)), "a killed process"))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProbeFailed(lines[-1])
    told: dict[str, Any] = json.loads(done.stdout)
    if "problems" in told:
        problems = told["problems"]
        raise ConfigError(
            Problem(where, rule, Verbatim(got), fix) for where, rule, got, fix in problems
        )
    return told


def too_large(run: Run, got: str) -> Problem:
    """Return the problem of a batch that memory ran out over, as `got` says."""
    words = " ".join(f"{path}={value}" for path, value in sizes(run).items())
    fix = "Lower them, or set trainer.micro_batch_size=4."
    return Problem("probe", f"{words} must fit into memory", Verbatim(got), fix)
