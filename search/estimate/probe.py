"""Measure a short run of every arm: seconds per example, start-up seconds, peak memory.

Each arm runs in its own process, `python -m search.estimate.measure`, so that its peak memory is
measured separately and freed completely. So do trials that share passes, if `search.pack` asks for
them: `python -m search.estimate.measure_pack`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.model.files.trust import trust_arguments
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from search.estimate.estimate import Measured, Pace, PackPace
from search.machine.allocator import allocator
from search.machine.cpu import worker_threads
from search.machine.process import num_memory_kills
from search.plan.plan import Plan
from search.space.space import Options
from search.study.pack import arms_that_pack

# They decide the tokens per forward pass, and so the peak memory.
SIZES = ("data.batch_size", "data.max_length", "trainer.micro_batch_size")


MEASURE = "search.estimate.measure"
MEASURE_PACK = "search.estimate.measure_pack"
"""The processes that measure."""


class ProbeFailed(RuntimeError):
    """The probe's process failed for a reason other than the configuration."""


def probe(
    plan: Plan,
    on_arm: Callable[[Options], None] = lambda options: None,
    on_built: Callable[[str, int, int], None] = lambda *_: None,
) -> Measured:
    """Measure every arm, each in its own process; leave the study's folder unchanged.

    A pack of trials is measured in a process of its own as well, so that it may run out of memory.

    Args:
        plan: The study's plan.
        on_arm: Called with each arm before it is measured.
        on_built: Called with each arm's strategy and its numbers of trained and all parameters.

    Raises:
        UserError: Data or model cannot be used, a batch does not fit into memory, or a loop of the
            user's own trains the trials.
        ProbeFailed: A process failed.

    """
    import psutil

    if plan.is_asked:
        fix = "Its trials are trained by a loop of yours."
        raise ConfigError(Problem("probe", "must be false if search.ask_tell is true", True, fix))
    busy = psutil.cpu_percent(interval=0.5) / 100
    results: dict[Options, dict[str, Any]] = {}
    for options in plan.defaults:
        on_arm(options)
        results[options] = _measure_apart(plan, options)
        arm = results[options]
        strategy = plan.defaults[options].flat()["strategy"]
        if arm["num_parameters"]:
            on_built(strategy, arm["num_trainable"], arm["num_parameters"])
    num_trials = plan.search.settings.pack_size
    packing = arms_that_pack(plan) if num_trials > 1 else []
    greediest = max(results, key=lambda options: int(results[options]["memory_bytes"]))
    return Measured(
        paces={
            options: Pace(
                arm["train"], arm["validation"], arm["start"], arm["memory_bytes"], arm["epoch"]
            )
            for options, arm in results.items()
        },
        start=max(arm["worker_start"] for arm in results.values()),
        feature_seconds=sum(arm.get("feature_seconds", 0.0) for arm in results.values()),
        feature_bytes=sum(arm.get("feature_bytes", 0) for arm in results.values()),
        device=results[greediest]["device"],
        free_bytes=min(arm["free_bytes"] for arm in results.values()),
        busy=busy,
        sizes=sizes(plan.run(largest(plan, greediest))),
        num_shares=min(arm["num_shares"] for arm in results.values()),
        packs={options: _measure_pack(plan, options, num_trials) for options in packing},
        at_once={
            options: arm["num_at_once"]
            for options, arm in results.items()
            if arm["num_at_once"] is not None
        },
    )


def largest(plan: Plan, options: Options) -> dict[str, Any]:
    """Return the arm's values that take the most memory: its options and its largest sizes."""
    values: dict[str, Any] = dict(zip(plan.space.groups, options, strict=True))
    for path in SIZES:
        if path in plan.space.arms[options]:
            distribution: Any = plan.space.arms[options][path].distribution
            choices = getattr(distribution, "choices", None)
            if choices:  # null is no limit
                values[path] = None if None in choices else max(choices)
            else:
                values[path] = distribution.high
    return values


def sizes(run: Run) -> dict[str, int]:
    """Return the settings that decide the size of a forward pass."""
    values = run.flat()
    size = "trainer.micro_batch_size"
    path = "data.batch_size" if values[size] is None else size
    return {path: values[path], "data.max_length": values["data.max_length"]}


def _measure_pack(plan: Plan, options: Options, num_trials: int) -> PackPace:
    """Return what it is to train trials of the arm together."""
    try:
        return PackPace(num_trials, **_measure_apart(plan, options, MEASURE_PACK))
    except ConfigError as error:  # alone they fit
        (problem, *_) = error.problems
        return PackPace(num_trials, None, f"they take {problem.got}", None)


def _measure_apart(plan: Plan, options: Options, module: str = MEASURE) -> dict[str, Any]:
    request = {"composition": plan.composition.as_dict(), "options": options}
    environment = {**allocator(), **os.environ}
    if plan.search.settings.workers:
        environment["OMP_NUM_THREADS"] = str(worker_threads(plan.search.settings.workers))
    num_kills = num_memory_kills()
    # Made here: a process that runs out of memory is killed, and would leave its folder behind.
    with TemporaryDirectory(prefix="finesweep-probe-") as folder:
        # Tokenized rows of a sample are useless to later runs.
        environment["FINESWEEP_CACHE"] = str(Path(folder, "cache"))
        done = subprocess.run(
            # -P: a folder "search" in the user's working directory must not be imported.
            [sys.executable, "-P", "-m", module, *trust_arguments()],
            input=json.dumps({**request, "folder": folder}),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    if done.returncode == -signal.SIGKILL:
        got = "a killed process"
        if num_memory_kills() > num_kills:
            got = "a process that the kernel killed because the machine's memory ran out"
        raise ConfigError(too_large(plan.run(largest(plan, options)), got))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ProbeFailed(lines[-1])
    result: dict[str, Any] = json.loads(done.stdout)
    if "problems" in result:
        problems = result["problems"]
        raise ConfigError(
            Problem(where, rule, Verbatim(got), fix) for where, rule, got, fix in problems
        )
    return result


def too_large(run: Run, got: str) -> Problem:
    """Return the problem of a batch that does not fit into memory; `got` says what happened."""
    words = " ".join(f"{path}={value}" for path, value in sizes(run).items())
    fix = "Lower them, or set trainer.micro_batch_size=4."
    return Problem("probe", f"{words} must fit into memory", Verbatim(got), fix)


def untrainable(run: Run, outcome: Outcome) -> Problem:
    """Return the problem of a run that ended before its first step or validation."""
    values = run.flat()
    what = f"model={values['model']} strategy={values['strategy']}"
    if outcome.ending is not Ending.infeasible:
        return Problem("probe", f"{what} must train for a few steps", Verbatim(outcome.reason))
    fix = "Lower data.max_length, or choose a smaller model"
    fix += ", or strategy=lora." if values["strategy"] == "full" else "."
    return Problem("probe", f"{what} must fit into memory", Verbatim(outcome.reason), fix)
