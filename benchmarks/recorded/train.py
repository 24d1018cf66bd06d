"""Trains families with the product's `fit`, and writes a file a run."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from recorded.frozen import quick
from recorded.job import PLANS, Family
from recorded.recorder import Recorded, Recorder, Truth
from recorded.text import Place, true_lines

from lightning_modules.cache import Cache
from lightning_modules.check import CheckedRows, load_rows
from lightning_modules.fit import fit
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine.file import replacing
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from lightning_modules.schedule.base import Length
from search.config import build_run, compose
from search.machine.quiet import quiet_training

CACHE = Cache()
"""What stays in a process from run to run."""


@dataclass(frozen=True)
class Trained:
    """A run of a family, at its end.

    Attributes:
        epochs: Its length.
        run: It, as a user's.
        recorder: What was heard.
        outcome: What `fit` returned.
        folder: Its files, until the next run is asked for.

    """

    epochs: int
    run: Run
    recorder: Recorder
    outcome: Outcome
    folder: Path


def prepare(work: Path) -> None:
    """Make a process ready to train on one thread."""
    os.environ["FINESWEEP_CACHE"] = str(work / "cache")
    quiet_training()
    import torch

    torch.set_num_threads(1)


def run_of(family: Family, epochs: int, place: Place) -> Run:
    """Return the product's run of a family that has this length."""
    words = (
        "model=minilm",
        "data=files",
        f"data.train={place.rows_file(family.text, family.num_rows)}",
        f"data.batch_size={family.batch_size}",
        f"strategy={family.strategy}",
        f"optimizer.lr={family.lr!r}",
        "schedule=wsd",
        f"trainer.epochs={epochs}",
        f"trainer.validations_per_epoch={PLANS[family.strategy].validations_per_epoch}",
        "trainer.precision=fp32",
        "trainer.checkpoint_seconds=1e6",
        "logger=none",
        f"seed={family.seed}",
    )
    return build_run(compose("train", words).tree)


def trained_runs(family: Family, place: Place) -> Iterator[Trained]:
    """Train a family, and yield its runs, the shortest first.

    All begin as one, the trunk. Where the learning rate of a run begins to fall, a copy of the
    trunk goes to that run's end, and the trunk continues to the next longer one.
    """
    recorder, outcome = _recorder(family, place), None
    with tempfile.TemporaryDirectory(dir=place.work) as name:
        trunk = Path(name) / "trunk"
        trunk.mkdir()
        for epochs in family.lengths:
            run, heard, folder = run_of(family, epochs, place), recorder, trunk
            recorder.kept = _kept(family, run)
            if outcome is None and epochs < max(family.lengths):
                recorder.stop_at = run.schedule.stable_steps(length_of(run))
                reached = fit_recorded(run, recorder, trunk)
                recorder.stop_at = None
                if reached.ending is Ending.interrupted:
                    folder, heard = Path(name) / f"{epochs}", recorder.branch()
                    shutil.copytree(trunk, folder)
                else:  # it diverged before, and so do the longer ones
                    outcome = reached
            yield Trained(epochs, run, heard, outcome or fit_recorded(run, heard, folder), folder)


def fit_recorded(run: Run, recorder: Recorder, folder: Path) -> Outcome:
    """Train, or continue training, and tell the recorder."""
    heard = replace(quick(run), task=Recorded(**asdict(run.task), recorder=recorder))
    return fit_plainly(heard, recorder, folder)


def fit_plainly(run: Run, hooks: Hooks, folder: Path) -> Outcome:
    """Train as the product does."""
    return fit(run, folder, Identity(folder.name, None, folder), hooks, CACHE)


def rows_of(run: Run) -> CheckedRows:
    return load_rows(run, CACHE)


def length_of(run: Run) -> Length:
    steps_per_epoch = math.ceil(len(rows_of(run).corpus.splits["train"]) / run.data.batch_size)
    return Length(run.trainer.epochs * steps_per_epoch, steps_per_epoch)


def _recorder(family: Family, place: Place) -> Recorder:
    plan, run = PLANS[family.strategy], run_of(family, family.lengths[0], place)
    labels = rows_of(run).labels
    lines = true_lines(family.text, place.data)[: plan.num_true_rows]
    key = ("truth", family.text, plan.num_true_rows, labels)
    truth = CACHE.get_or_make(key, lambda: Truth(run, lines, labels, CACHE))
    return Recorder(truth, plan.scores_all)


def _kept(family: Family, run: Run) -> frozenset[int]:
    """Return the numbers of the validations at which the true rows' answers are kept."""
    epochs = length_of(run).validation_steps(run.trainer.validations_per_epoch).values()
    scored = PLANS[family.strategy].scored_epochs
    return frozenset(
        number
        for number, epoch in enumerate(sorted(epochs), 1)
        if epoch in scored or epoch == run.trainer.epochs
    )


def record(family: Family, place: Place) -> Iterator[str]:
    """Train a family and write its runs' files; yield a line about each."""
    for trained in trained_runs(family, place):
        path = place.run_file(family.run_name(trained.epochs))
        _check_curve(trained)
        _write(path, trained, _described(family, trained))
        recorder = trained.recorder
        last = recorder.validations[-1] if recorder.validations else {}
        names = ("accuracy", "truth_accuracy")
        scores = ", ".join(f"{last.get(each, math.nan):.3f}" for each in names)
        times = f"{recorder.cpu_seconds:.0f} s and {recorder.truth_cpu_seconds:.0f} s of CPU"
        ending = trained.outcome.ending.value
        yield f"{path.stem} lr {family.lr} batch {family.batch_size} {ending}: {scores}; {times}"


def _check_curve(trained: Trained) -> None:
    """Assert that what was recorded is what `fit` tells."""
    for kept, point in zip(trained.recorder.validations, trained.outcome.points, strict=True):
        assert kept["step"] == point.step
        assert all(kept[name] == value for name, value in point.metrics.items())


def _described(family: Family, trained: Trained) -> dict[str, Any]:
    """Return what the table of runs has of one."""
    run, outcome, recorder = trained.run, trained.outcome, trained.recorder
    settings = {**run.flat(), "data.train": f"{family.text}-{family.num_rows}.jsonl"}
    length = length_of(run)
    return {
        **{name: value for name, value in asdict(family).items() if name != "lengths"},
        "epochs": trained.epochs,
        **{f"num_{split}": len(rows) for split, rows in rows_of(run).corpus.splits.items()},
        "num_steps": length.num_steps,
        "steps_per_epoch": length.steps_per_epoch,
        "ending": outcome.ending.value,
        "reason": outcome.reason,
        "best": outcome.best.number if outcome.best else None,
        "seconds": outcome.seconds - recorder.truth_seconds,
        "cpu_seconds": recorder.cpu_seconds,
        "num_trainable": outcome.num_trainable,
        "hardware": outcome.hardware,
        "settings": json.dumps(settings),
    }


def _write(path: Path, trained: Trained, run: dict[str, Any]) -> None:
    recorder = trained.recorder
    validations = recorder.validations
    numbers = [number for number in sorted(recorder.answers) if number <= len(validations)]
    arrays = {
        "logits": np.array(recorder.logits[: len(validations)]),
        "numbers": np.array(numbers, dtype=np.int32),
        "answers": np.array([recorder.answers[number] for number in numbers]),
    }
    values = json.dumps({"run": run, "validations": validations})
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, values=values, **arrays)
