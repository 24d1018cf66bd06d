"""What a run of one arm takes, measured in this process: `python -m search.estimate.measure`.

It trains with `fit`, as a trial does, on a part of the rows, in a folder it is given: first two
steps of the longest rows at the largest batch size of the space, for the peak, then some steps
of rows taken by chance at the default one, for the pace.
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
from collections.abc import Sequence
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
from lightning_modules.network import build_tokenizer
from lightning_modules.outcome import Point
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.run import Run
from search.config import Composition
from search.estimate.probe import largest, too_large
from search.machine.quiet import quiet_process, quiet_training
from search.plan.plan import Plan, build_plan
from search.space.space import Options

PACE_SECONDS = 10.0  # of timed steps, about
MAX_SECONDS = 20.0  # after which they end in any case
CHANCE_SEED = 0
NUM_STEPS = (4, 40)  # timed, the first of them for nothing
PEAK_STEPS = 4
BACKWARD = 3  # a step takes about so many times its forward pass
NUM_COUNTED = 256
NUM_VALIDATED = (64, 512)


def main() -> int:
    """Measure the arm that standard input names; tell the numbers on standard output."""
    asked = json.load(sys.stdin)
    # What libraries print goes where errors go.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    plan = build_plan(Composition.from_dict(asked["composition"]))
    told: dict[str, Any]
    try:
        told = measure(plan, tuple(asked["options"]), Path(asked["folder"]))
    except UserError as error:
        told = {"problems": [(p.where, p.rule, _got(p), p.fix) for p in error.problems]}
    with output:
        json.dump(told, output)
    return 0


def _got(problem: Problem) -> str:
    return problem.got if isinstance(problem.got, Verbatim) else repr(problem.got)


def measure(plan: Plan, options: Options, folder: Path) -> dict[str, Any]:
    """Return what a run of the arm takes, as plain values; to be called once a process.

    Args:
        plan: The study's.
        options: The arm.
        folder: An empty one, for the runs to write to.

    """
    process = psutil.Process()
    free_bytes = psutil.virtual_memory().available

    quiet_process()
    quiet_training()

    default, large = plan.defaults[options], plan.run(largest(plan, options))
    device = choose_hardware(default.trainer.device, default.trainer.precision).device.value
    if device == "cuda":
        free_bytes = torch.cuda.mem_get_info()[0]
    material = check_run(default)
    if not default.strategy.trains:
        created = process.create_time()
        return _measure_untrained(default, material, folder, device, free_bytes, created)
    cache = Cache()
    per_row = _examples_per_row(default, material, cache)
    # A tokenizer that is made of the rows is made of all of them, as a trial does: its
    # vocabulary is a part of the network. Other lengths have a tokenizer of their own.
    build_tokenizer(large, material.corpus.splits["train"], cache)
    longest = _longest(large, material, per_row)
    try:
        peak = _Try(large, longest, cache, folder / "peak", per_row, PEAK_STEPS)
    except torch.OutOfMemoryError:
        raise ConfigError(too_large(large, "out of memory")) from None
    memory_bytes = _peak_bytes(device)
    sample = _sample(default, material, per_row, peak.steps[-1] / large.data.batch_size)
    pace = _Try(default, sample, cache, folder / "pace", per_row, NUM_STEPS[1])
    num_sampled = len(sample.corpus.splits["train"]) * per_row
    batch_size = min(default.data.batch_size, num_sampled)
    # The mean, not the median: a batch has rows of like length, and takes as long as they are.
    step = sum(pace.steps[1:]) / len(pace.steps[1:])
    return {
        "train": step / batch_size,
        "validation": _validation_seconds((pace, sample), (peak, longest))
        or per_row * step / batch_size / BACKWARD,
        "epoch": per_row * len(material.corpus.splits["train"]),
        "start": max(0.0, pace.seconds - len(pace.steps) * step - sum(pace.validations)),
        "worker_start": peak.began_at - process.create_time(),
        "memory_bytes": memory_bytes,
        "free_bytes": free_bytes,
        "device": device,
        "num_trainable": peak.num_trainable,
        "num_parameters": peak.num_parameters,
    }


def _validation_seconds(*tries: tuple[_Try, CheckedRows]) -> float | None:
    """Return the seconds a validation row of the first that came to one; a slow one was ended."""
    for tried, part in tries:
        if tried.validations:
            return median(tried.validations) / len(part.corpus.splits["validation"])
    return None


def _examples_per_row(run: Run, material: CheckedRows, cache: Cache) -> float:
    """Return how many training examples a row becomes, in the mean of some."""
    train = material.corpus.splits["train"]
    rows = random.Random(CHANCE_SEED).sample(list(train), min(NUM_COUNTED, len(train)))
    tokenizer = build_tokenizer(run, train, cache)
    prepared = run.strategy.prepare(rows, tokenizer)
    columns = run.task.encode(prepared, tokenizer, run.data.max_length, material.labels)
    return len(columns["input_ids"]) / len(rows)


def _measure_untrained(
    run: Run, material: CheckedRows, folder: Path, device: str, free_bytes: int, created: float
) -> dict[str, Any]:
    """Return the same of an arm whose runs are one validation."""
    rows = material.corpus.splits["validation"][: NUM_VALIDATED[1]]
    part = CheckedRows(Corpus({**material.corpus.splits, "validation": rows}), material.labels)
    tried = _Try(run, part, Cache(), folder / "pace")
    seconds = sum(tried.validations)
    return {
        "num_trainable": 0,
        "num_parameters": 0,
        "epoch": None,
        "train": 0.0,
        "validation": seconds / len(rows),
        "start": max(0.0, tried.seconds - seconds),
        "worker_start": tried.began_at - created,
        "memory_bytes": _peak_bytes(device),
        "free_bytes": free_bytes,
        "device": device,
    }


class _Try(Hooks):
    """A run over a part of its rows, with the times of its steps and validations.

    Attributes:
        steps: Seconds of each step.
        validations: Seconds of each validation.
        seconds: Seconds of the whole run.
        began_at: The time of day when its network was there.
        num_trainable: Parameters that are trained.
        num_parameters: Of so many.

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
        self.began_at = 0.0
        self.num_trainable = self.num_parameters = 0
        self._mark = 0.0
        self._deadline = 0.0
        num_steps = math.ceil(len(part.corpus.splits["train"]) * per_row / run.data.batch_size)
        trainer = replace(
            run.trainer,
            epochs=-(-NUM_STEPS[0] // num_steps) if num_steps < 2 else 1,
            # A row may be many steps, and the validation comes behind the last.
            max_steps=max_steps,
            validations_per_epoch=1,
            patience=None,
            log_every_steps=1,  # which waits for the device: a step's time is its own
        )
        folder.mkdir()
        began = time.monotonic()
        fit(
            replace(run, trainer=trainer, logger=NoLogger()),
            folder,
            Identity("probe", None, folder),
            self,
            cache,
            part,
        )
        self.seconds = time.monotonic() - began

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        self.num_trainable, self.num_parameters = num_trainable, num_parameters

    def on_train_start(self, num_examples: int, stable_examples: int, hardware: str) -> None:
        self.began_at = time.time()
        self._mark = time.monotonic()
        self._deadline = self._mark + MAX_SECONDS

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


def _longest(run: Run, material: CheckedRows, per_row: float) -> CheckedRows:
    """Return the longest rows: two steps of them, and as many as are validated at once."""
    splits = material.corpus.splits
    num_train = math.ceil(2 * run.data.batch_size / min(per_row, 1))
    train = longest_rows(splits["train"], num_train)
    return _part(material, train, longest_rows(splits["validation"], NUM_VALIDATED[0]))


def longest_rows(rows: Sequence[Row], number: int) -> list[Row]:
    """Return the rows with the most letters, whatever they hold: texts, numbers, conversations."""

    def num_letters(row: Row) -> int:
        return len(json.dumps(row, ensure_ascii=False, default=str))

    return heapq.nlargest(number, rows, key=num_letters)


def _sample(run: Run, material: CheckedRows, per_row: float, example_seconds: float) -> CheckedRows:
    """Return rows taken by chance, whole batches of them, for about `PACE_SECONDS`.

    Args:
        run: What they are for.
        material: All rows.
        per_row: Examples that one becomes.
        example_seconds: What the longest rows took, so that it rather takes less.

    """
    chance = random.Random(CHANCE_SEED)
    batch_size = run.data.batch_size

    def taken(split: str, number: int) -> list[Row]:
        rows = material.corpus.splits[split]
        return chance.sample(list(rows), min(number, len(rows)))

    num_steps = round(PACE_SECONDS / max(example_seconds * batch_size, 1e-9))
    per_batch = math.ceil(batch_size / per_row)
    train = taken("train", _within(NUM_STEPS, num_steps) * per_batch)
    whole = len(train) // per_batch * per_batch or len(train)
    num_validated = round(PACE_SECONDS / max(example_seconds, 1e-9))
    return _part(
        material, train[:whole], taken("validation", _within(NUM_VALIDATED, num_validated))
    )


def _within(limits: tuple[int, int], value: int) -> int:
    low, high = limits
    return min(max(value, low), high)


def _part(material: CheckedRows, train: Sequence[Row], validation: Sequence[Row]) -> CheckedRows:
    splits = {"train": train, "validation": validation}
    return CheckedRows(Corpus(splits), material.labels)


def _peak_bytes(device: str) -> int:
    """Return the most memory that this process has had: of the GPU, or else its own."""
    if device == "cuda":
        return int(torch.cuda.max_memory_reserved())

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # KiB elsewhere


if __name__ == "__main__":
    sys.exit(main())
