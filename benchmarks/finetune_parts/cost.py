"""What a side's process, trial, step and validation take, measured on the same rows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
BATCH_SIZES = (16, 8, 32)


@dataclass(frozen=True)
class Cost:
    """Seconds of a side.

    Attributes:
        start: Of the command, once: imports, the data, and what comes after the last trial.
        trial: Of a trial besides its steps and validations.
        validation: Of a validation with what follows it, e.g. a checkpoint.
        steps: Of an optimizer step, by batch size.

    """

    start: float
    trial: float
    validation: float
    steps: Mapping[int, float]

    def trial_seconds(self, batch_size: int, num_steps: int, num_validations: int) -> float:
        """Return the seconds of a trial that goes so far."""
        trained = num_steps * self.steps[batch_size]
        return self.trial + trained + num_validations * self.validation


@dataclass(frozen=True)
class Spent:
    """What a part took, by the clock and of all cores together."""

    clock: float
    cores: float


@dataclass(frozen=True)
class TrialSpent:
    """What one short trial of a process took.

    Attributes:
        batch_size: Its batch size.
        num_steps: Its steps.
        num_validations: Its validations.
        all: From its begin to the next one's; of the last one, to its own end.
        steps: All steps together.
        validations: All validations together.

    """

    batch_size: int
    num_steps: int
    num_validations: int
    all: Spent
    steps: Spent
    validations: Spent


def run_process(words: Sequence[str], folder: Path) -> tuple[Spent, list[TrialSpent]]:
    """Run a side's process in a folder of its own; return what it took, and its trials."""
    folder.mkdir(parents=True)
    roots = [str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "WANDB_MODE": "disabled"}
    began = time.perf_counter()
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=folder, env=environment, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "log").read_text(encoding="utf-8")[-3000:])
    whole = Spent(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
    found = json.loads((folder / "spent.json").read_text(encoding="utf-8"))
    return whole, [_trial(each) for each in found]


def _trial(values: Mapping[str, object]) -> TrialSpent:
    parts = {name: Spent(*each) for name, each in values.items() if isinstance(each, list)}
    counts = {name: each for name, each in values.items() if not isinstance(each, list)}
    return TrialSpent(**counts, **parts)  # type: ignore[arg-type]


def cost(processes: Sequence[tuple[Spent, Sequence[TrialSpent]]], kind: str) -> Cost:
    """Return the medians over several processes; `kind` is `clock` or `cores`."""

    def of(spent: Spent) -> float:
        return float(getattr(spent, kind))

    def trained(trial: TrialSpent) -> float:
        return of(trial.steps) + of(trial.validations)

    # The first trial of a process also loads what the others find in memory.
    later = [trial for _, trials in processes for trial in trials[1:]]
    every = [trial for _, trials in processes for trial in trials]
    each_trial = statistics.median(of(trial.all) - trained(trial) for trial in later)
    return Cost(
        start=statistics.median(
            of(whole) - sum(trained(trial) + each_trial for trial in trials)
            for whole, trials in processes
        ),
        trial=each_trial,
        validation=statistics.median(of(t.validations) / t.num_validations for t in every),
        steps={
            size: statistics.median(
                of(t.steps) / t.num_steps for t in every if t.batch_size == size
            )
            for size in BATCH_SIZES
        },
    )
