"""finesweep train: train one configuration, or a study's trial again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.memory import freeze_imports
from lightning_modules.machine.path import typed_path
from lightning_modules.outcome import Ending, Outcome
from search.cli.argument import parse
from search.cli.compose import composed
from search.config import TYPED_KEYS
from search.machine.allocator import allocator
from search.machine.quiet import import_training
from search.machine.signals import Interrupt
from search.report.text import aligned, duration
from search.terminal.download import fetch_models, say_pending
from search.terminal.live import RunProgress
from search.terminal.training import RunHooks
from search.trained.training import (
    Job,
    has_result,
    job_again,
    job_from,
    job_of,
    named_trial,
    notes_of,
    start,
    train,
    validation_metrics,
)

ABOUT = """\
Train one configuration; its files go to runs/NAME. The same command continues
an interrupted run. With study= and trial=, train a trial again, to the same
scores; with config=, a whole configuration in a file, e.g. a study's best.yaml.

  finesweep train run=one strategy=full trainer.epochs=3
  finesweep train run=mine data=files data.train=my.csv optimizer.lr=3e-4
  finesweep train study=mine trial=3
  finesweep train config=studies/mine/best.yaml
"""

_OF_FILE = ("config=", "run=")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("train", ABOUT, words, flags=("json", "config"))
    job = _from_file(parsed) or _again(parsed) or _composed(parsed)
    if job is None:
        return 0
    os.environ.update(allocator())  # before torch is imported
    rows = start(job, partial(fetch_models, show=True))
    import_training()
    freeze_imports()
    interrupt = Interrupt()
    if parsed.json:
        outcome = train(job, rows, RunHooks(job.run, interrupt, None))
    else:
        with RunProgress() as progress:
            outcome = train(job, rows, RunHooks(job.run, interrupt, progress, notes_of(job, rows)))
    name = job.folder.name
    if outcome.ending is Ending.interrupted:
        print(f"{outcome.reason}; run the same command with run={name} to continue")
        return interrupt.exit_code
    if not has_result(outcome):
        print(f"run {name} {outcome.ending.value}: {outcome.reason}", file=sys.stderr)
        return 1
    metrics = validation_metrics(outcome)
    if parsed.json:
        print(json.dumps(metrics, indent=2))
    else:
        print("\n".join(_summary(job, outcome, metrics)))
    return 0


def _composed(parsed: argparse.Namespace) -> Job | None:
    """Return the run that the words describe; None if `--cfg job` printed it."""
    composition = composed("train", parsed)
    if composition is None:
        return None
    say_pending(composition)
    return job_of(composition)


def _from_file(parsed: argparse.Namespace) -> Job | None:
    """Return the run of a whole configuration in a file; None if the words name none."""
    words = [word for word in parsed.overrides if word.split("=")[0] not in TYPED_KEYS]
    own = dict(word.split("=", maxsplit=1) for word in words if word.startswith(_OF_FILE))
    if "config" not in own:
        return None
    for word in words:
        if not word.startswith(_OF_FILE):
            rule = "a file with a whole configuration is taken as it is"
            fix = "Only run= may be given besides config=; change the file."
            raise ConfigError(Problem(word.partition("=")[0], rule, Verbatim(word), fix))
    return job_from(typed_path(own["config"]), own.get("run"))


def _again(parsed: argparse.Namespace) -> Job | None:
    """Return the run that repeats the trial the words name; None if they name none."""
    own = dict(
        word.split("=", maxsplit=1)
        for word in parsed.overrides
        if word.startswith(("study=", "trial=", "run="))
    )
    if not own.keys() & {"study", "trial"}:
        return None
    others = [word for word in parsed.overrides if word.split("=")[0] not in (*own, *TYPED_KEYS)]
    study, trial = named_trial(own.get("study"), own.get("trial"), others)
    return job_again(study, trial, own.get("run"))


def _summary(job: Job, outcome: Outcome, metrics: dict[str, float]) -> list[str]:
    name = job.folder.name
    lines = [
        f"run {name}: {outcome.reason}, {duration(outcome.seconds)} on {outcome.hardware}",
        *aligned(metrics),
    ]
    if job.repeat is not None:
        lines.append(job.repeat.compared(outcome))
    following = f"finesweep evaluate run={name}{' split=test' if job.run.data.has_test else ''}"
    return [*lines, f"It {outcome.verdict}.", f"Next: {following}"]
