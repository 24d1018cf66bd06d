"""Measure time and memory of one arm in this process: `python -m search.estimate.measure`.

It trains with `fit`, like a trial, on some of the rows, in a given folder: first two steps on the
longest rows at the space's largest batch size, for the peak memory, then some steps on random rows
at the default batch size, for the pace.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

from lightning_modules.cache import Cache
from lightning_modules.check import CheckedRows, check_run
from lightning_modules.error import ConfigError, Problem, UserError, Verbatim
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.logger.none import NoLogger
from lightning_modules.machine.hardware import choose_hardware
from lightning_modules.machine.memory import keep_buffers
from lightning_modules.model.files.trust import take_trust
from lightning_modules.network import build_tokenizer
from lightning_modules.outcome import Point
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.run import Run
from lightning_modules.trainer import Trainer
from search.config import Composition
from search.estimate.probe import largest, too_large, untrainable
from search.machine.quiet import quiet_process, quiet_training
from search.plan.build import build_plan
from search.plan.plan import Plan
from search.space.space import Options

PACE_SECONDS = 10.0  # approximate time of the timed steps
MAX_SECONDS = 20.0  # maximum time of the timed steps
SAMPLE_SEED = 0
NUM_STEPS = (4, 40)  # timed steps; the first one is not counted
PEAK_STEPS = 4
BACKWARD = 3  # duration of a step, in forward passes
NUM_COUNTED = 256
NUM_VALIDATED = (64, 512)


def main(measured: Callable[[Plan, Options, Path], dict[str, Any]]) -> int:
    """Measure the arm given on standard input; write the numbers to standard output.

    Args:
        measured: Returns them as plain values, given the plan, the arm and an empty folder.

    """
    request = json.load(sys.stdin)
    # Output of libraries goes to standard error.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    plan = build_plan(Composition.from_dict(request["composition"]))
    result: dict[str, Any]
    try:
        result = measured(plan, tuple(request["options"]), Path(request["folder"]))
    except UserError as error:
        result = {"problems": [(p.where, p.rule, _got(p), p.fix) for p in error.problems]}
    with output:
        json.dump(result, output)
    return 0


def _got(problem: Problem) -> str:
    return problem.got if isinstance(problem.got, Verbatim) else repr(problem.got)


def measure(plan: Plan, options: Options, folder: Path) -> dict[str, Any]:
    """Return time and memory of a run of the arm, as plain values; call it once per process.

    Args:
        plan: The study's plan.
        options: The arm.
        folder: An empty folder for the runs' files.

    """
    process = psutil.Process()
    free_bytes = psutil.virtual_memory().available

    quiet_process()
    quiet_training()
    keep_buffers()  # as workers do

    default, large = plan.defaults[options], plan.run(largest(plan, options))
    facts = _machine(default.trainer, free_bytes)
    device = facts["device"]
    checked = check_run(default)
    if not default.strategy.trains:
        created = process.create_time()
        return {**_measure_untrained(default, checked, folder, device, created), **facts}
    cache = Cache()
    per_row = examples_per_row(default, checked, cache)
    # A tokenizer that is built from rows needs all of them, like in a trial: its vocabulary decides
    # the network's size. Other maximum lengths have their own tokenizer.
    build_tokenizer(large, checked.corpus.splits["train"], cache)
    longest = longest_part(large, checked, per_row)
    try:
        peak = _Try(large, longest, cache, folder / "peak", per_row, PEAK_STEPS)
    except torch.OutOfMemoryError:
        raise ConfigError(too_large(large, "out of memory")) from None
    if not peak.steps:
        raise ConfigError(untrainable(large, peak.outcome))
    memory_bytes = peak_bytes(device)
    example_seconds = peak.steps[-1] / large.data.batch_size + peak.feature_seconds
    sample = sample_part(default, checked, per_row, example_seconds)
    pace = _Try(default, sample, cache, folder / "pace", per_row, NUM_STEPS[1])
    if not pace.steps:
        raise ConfigError(untrainable(default, pace.outcome))
    num_sampled = len(sample.corpus.splits["train"]) * per_row
    # The mean, not the median: each batch has rows of similar length, and its time depends on it.
    step = sum(pace.steps[1:]) / len(pace.steps[1:])
    train = step / min(default.data.batch_size, num_sampled)
    features = _feature_costs(pace, checked, per_row)
    passed = pace.feature_seconds * pace.num_features  # the sample; all rows are passed once
    return {
        "train": train,
        "validation": _validation_seconds((pace, sample), (peak, longest))
        or per_row * train / BACKWARD,
        "epoch": per_row * len(checked.corpus.splits["train"]),
        "start": max(0.0, pace.seconds - len(pace.steps) * step - sum(pace.validations) - passed),
        "worker_start": peak.began_at - process.create_time() + features["feature_seconds"],
        "memory_bytes": memory_bytes,
        "num_at_once": peak.num_at_once,
        "num_trainable": peak.num_trainable,
        "num_parameters": peak.num_parameters,
        **features,
        **facts,
    }


def _machine(trainer: Trainer, free_bytes: int) -> dict[str, Any]:
    """Return what the machine has for the arm's runs.

    Args:
        trainer: The arm's.
        free_bytes: Free memory at the start, for a run on the CPU.

    """
    device = choose_hardware(trainer.device, trainer.precision).device.value
    if device != "cuda":
        return {"free_bytes": free_bytes, "device": device, "num_shares": 1}
    num_shares = max(1, torch.cuda.device_count() // trainer.devices)
    free_bytes = torch.cuda.mem_get_info()[0]
    return {"free_bytes": free_bytes, "device": device, "num_shares": num_shares}


def _feature_costs(pace: _Try, checked: CheckedRows, per_row: float) -> dict[str, Any]:
    """Return the seconds and bytes of all rows' features; 0 if there is no frozen part."""
    num_rows = sum(len(checked.corpus.splits[split]) for split in ("train", "validation"))
    num_examples = per_row * num_rows
    return {
        "feature_seconds": pace.feature_seconds * num_examples,
        "feature_bytes": round(pace.feature_bytes / max(1, pace.num_features) * num_examples),
    }


def _validation_seconds(*tries: tuple[_Try, CheckedRows]) -> float | None:
    """Return seconds per validation row from the first try that validated; slow ones were ended."""
    for tried, part in tries:
        if tried.validations:
            return median(tried.validations) / len(part.corpus.splits["validation"])
    return None


def examples_per_row(run: Run, checked: CheckedRows, cache: Cache) -> float:
    """Return the mean number of training examples per row, from a sample."""
    train = checked.corpus.splits["train"]
    rows = random.Random(SAMPLE_SEED).sample(list(train), min(NUM_COUNTED, len(train)))
    tokenizer = build_tokenizer(run, train, cache)
    prepared = run.strategy.prepare(rows, tokenizer)
    columns = run.task.encode_training(prepared, tokenizer, run.data.max_length, checked.labels)
    return len(columns["input_ids"]) / len(rows)


def _measure_untrained(
    run: Run, checked: CheckedRows, folder: Path, device: str, created: float
) -> dict[str, Any]:
    """Return the same for an arm that trains nothing: its runs are one validation."""
    rows = checked.corpus.splits["validation"][: NUM_VALIDATED[1]]
    part = CheckedRows(Corpus({**checked.corpus.splits, "validation": rows}), checked.labels)
    tried = _Try(run, part, Cache(), folder / "pace")
    if not tried.validations:
        raise ConfigError(untrainable(run, tried.outcome))
    seconds = sum(tried.validations)
    return {
        "num_trainable": 0,
        "num_parameters": 0,
        "epoch": None,
        "train": 0.0,
        "validation": seconds / len(rows),
        "start": max(0.0, tried.seconds - seconds),
        "worker_start": tried.began_at - created,
        "memory_bytes": peak_bytes(device),
        "num_at_once": None,
    }


class _Try(Hooks):
    """A run on some of its rows, with the times of its steps and validations.

    Attributes:
        steps: Seconds of each step.
        validations: Seconds of each validation.
        num_features: Examples that the network's frozen part read on its own.
        feature_seconds: Seconds that it took for each of them; 0 if there is no such part.
        feature_bytes: What their features take together.
        seconds: Seconds of the whole run.
        began_at: Unix time when its network was built.
        num_trainable: Trained parameters.
        num_parameters: All parameters.
        num_at_once: How many examples of a batch fit into memory at once; None if all do.
        outcome: How the run ended.

    """

    def __init__(
        self,
        run: Run,
        part: CheckedRows,
        cache: Cache,
        folder: Path,
        per_row: float = 1.0,
        max_steps: int | None = None,
    ) -> None:
        self.steps: list[float] = []
        self.validations: list[float] = []
        self.num_features, self.feature_seconds, self.feature_bytes = 0, 0.0, 0
        self.began_at = 0.0
        self.num_trainable = self.num_parameters = 0
        self.num_at_once: int | None = None
        self._mark = 0.0
        self._deadline = 0.0
        num_steps = math.ceil(len(part.corpus.splits["train"]) * per_row / run.data.batch_size)
        trainer = replace(
            run.trainer,
            epochs=-(-NUM_STEPS[0] // num_steps) if num_steps < 2 else 1,
            # A row may take many steps, and validation comes after the last one.
            max_steps=max_steps,
            validations_per_epoch=1,
            patience=None,
            log_every_steps=1,  # logging waits for the device, so that steps are timed separately
        )
        folder.mkdir()
        start = time.monotonic()
        self.outcome = fit(
            replace(run, trainer=trainer, logger=NoLogger()),
            folder,
            Identity("probe", None, folder),
            self,
            cache,
            checked=part,
        )
        self.seconds = time.monotonic() - start

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self.num_trainable, self.num_parameters = num_trainable, num_parameters

    def on_features(self, num_examples: int, seconds: float, num_bytes: int) -> None:
        total = self.feature_seconds * self.num_features + seconds
        self.num_features += num_examples
        self.feature_bytes += num_bytes
        self.feature_seconds = total / self.num_features

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self.began_at = time.time()
        self._mark = time.monotonic()
        self._deadline = self._mark + MAX_SECONDS

    def on_split(self, num_at_once: int) -> None:
        self.num_at_once = num_at_once

    def on_step(self, step: int, num_steps: int) -> None:
        self.steps.append(self._lap())

    def on_validation(self, point: Point) -> str | None:
        self.validations.append(self._lap())
        return None

    def interrupted(self) -> bool:
        return len(self.steps) > 1 and time.monotonic() > self._deadline

    def _lap(self) -> float:
        before, self._mark = self._mark, time.monotonic()
        return self._mark - before


def longest_part(run: Run, checked: CheckedRows, per_row: float) -> CheckedRows:
    """Return the longest rows: enough for two training steps and one validation batch."""
    splits = checked.corpus.splits
    num_train = math.ceil(2 * run.data.batch_size / min(per_row, 1))
    train = longest_rows(splits["train"], num_train)
    return _part(checked, train, longest_rows(splits["validation"], NUM_VALIDATED[0]))


def longest_rows(rows: Sequence[Row], number: int) -> list[Row]:
    """Return the rows with the most letters, for any kind of row: texts, numbers, conversations."""

    def num_letters(row: Row) -> int:
        return len(json.dumps(row, ensure_ascii=False, default=str))

    return heapq.nlargest(number, rows, key=num_letters)


def sample_part(
    run: Run, checked: CheckedRows, per_row: float, example_seconds: float
) -> CheckedRows:
    """Return random rows, in whole batches, for about `PACE_SECONDS`.

    Args:
        run: The run to measure.
        checked: All rows.
        per_row: Training examples per row.
        example_seconds: Seconds per example of the longest rows, so it rather takes less.

    """
    generator = random.Random(SAMPLE_SEED)
    batch_size = run.data.batch_size

    def sample(split: str, number: int) -> list[Row]:
        rows = checked.corpus.splits[split]
        return generator.sample(list(rows), min(number, len(rows)))

    num_steps = round(PACE_SECONDS / max(example_seconds * batch_size, 1e-9))
    per_batch = math.ceil(batch_size / per_row)
    train = sample("train", _within(NUM_STEPS, num_steps) * per_batch)
    whole = len(train) // per_batch * per_batch or len(train)
    num_validated = round(PACE_SECONDS / max(example_seconds, 1e-9))
    return _part(
        checked, train[:whole], sample("validation", _within(NUM_VALIDATED, num_validated))
    )


def _within(limits: tuple[int, int], value: int) -> int:
    low, high = limits
    return min(max(value, low), high)


def _part(checked: CheckedRows, train: Sequence[Row], validation: Sequence[Row]) -> CheckedRows:
    splits = {"train": train, "validation": validation}
    return CheckedRows(Corpus(splits), checked.labels)


def peak_bytes(device: str) -> int:
    """Return the peak memory of this process: on the GPU, or else in main memory."""
    if device == "cuda":
        return int(torch.cuda.max_memory_reserved())

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # KiB elsewhere


if __name__ == "__main__":
    take_trust(sys.argv[1:])
    sys.exit(main(measure))
