"""finesweep train: one run, of its own or a trial's again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_modules.check import check_run
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.folder import CHECKPOINT_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.machine.file import write_json, write_text
from lightning_modules.outcome import Ending, Outcome, Point
from lightning_modules.run import Run
from search.cli.argument import parse
from search.cli.compose import composed
from search.config import build_run, run_tree, to_yaml
from search.machine.provenance import PROVENANCE_FILE, provenance
from search.machine.signals import Interrupt
from search.report.text import aligned, duration, trained
from search.report.wandb import tags_of
from search.study.attempt import CONFIG_FILE
from search.terminal.live import RunProgress
from search.trained.find import find_study
from search.trained.repeat import Repeat, find_repeat
from search.trained.runs import METRICS_FILE, check_rows, new_run_folder

ABOUT = """\
Train one configuration; its files go to runs/NAME. The same command takes up
an interrupted run. With study= and trial=, a trial trains again, to its scores.

  finesweep train run=one strategy=full trainer.epochs=3
  finesweep train run=mine data=files data.train=my.csv optimizer.lr=3e-4
  finesweep train study=mine trial=3
"""


@dataclass(frozen=True)
class _Job:
    """What is to be trained, where; `repeat` names the trial it trains again, if any."""

    run: Run
    config: str
    folder: Path
    repeat: Repeat | None


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("train", ABOUT, words, flags=("json", "config"))
    job = _repeated(parsed) or _composed(parsed)
    if job is None:
        return 0
    _check_same(job.folder / CONFIG_FILE, job.config)
    fingerprint = check_run(job.run).corpus.fingerprint
    if job.repeat is not None:
        job.repeat.check(fingerprint)
    if (job.folder / PROVENANCE_FILE).is_file():
        check_rows(job.folder, fingerprint)
    else:
        write_text(job.folder / CONFIG_FILE, job.config)
        write_json(job.folder / PROVENANCE_FILE, provenance(job.run.seed, fingerprint))

    from lightning_modules.fit import fit
    from search.machine.quiet import quiet_training

    quiet_training()
    if job.repeat is not None:
        job.repeat.prepare()
    interrupt = Interrupt()
    identity = Identity(job.folder.name, None, job.folder, tags=tags_of(job.run.flat()))
    if parsed.json:
        outcome = fit(job.run, job.folder, identity, _Hooks(job.run, interrupt, None))
    else:
        with RunProgress() as progress:
            hooks = _Hooks(job.run, interrupt, progress)
            outcome = fit(job.run, job.folder, identity, hooks)
    if outcome.ending is Ending.interrupted:
        print(f"{outcome.reason}; the same command with run={job.folder.name} goes on")
        return interrupt.exit_code
    if outcome.best is None or outcome.ending in (Ending.diverged, Ending.infeasible):
        print(f"run {job.folder.name} {outcome.ending.value}: {outcome.reason}", file=sys.stderr)
        return 1
    (job.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    metrics = {f"validation/{name}": value for name, value in outcome.best.metrics.items()}
    write_json(job.folder / METRICS_FILE, metrics)
    if parsed.json:
        print(json.dumps(metrics, indent=2))
    else:
        print("\n".join(_told(job, outcome, metrics)))
    return 0


def _composed(parsed: argparse.Namespace) -> _Job | None:
    """Return the run that the words describe; None where `--cfg job` printed it."""
    composition = composed("train", parsed)
    if composition is None:
        return None
    run = build_run(composition.tree)
    folder = new_run_folder(composition.tree["run"])
    return _Job(run, to_yaml(run_tree(composition.tree)), folder, None)


def _repeated(parsed: argparse.Namespace) -> _Job | None:
    """Return the run of the trial that the words name; None where they name none."""
    own = dict(
        word.split("=", maxsplit=1)
        for word in parsed.overrides
        if word.startswith(("study=", "trial=", "run="))
    )
    if not own.keys() & {"study", "trial"}:
        return None
    others = [word for word in parsed.overrides if word.split("=")[0] not in own]
    if others:
        rule = "a trial brings its own configuration"
        fix = "Beside study= and trial= only run= may stand."
        raise ConfigError(Problem(others[0].split("=")[0], rule, Verbatim(others[0]), fix))
    missing = {"study", "trial"} - own.keys()
    if missing:
        (key,) = missing
        raise ConfigError(Problem(key, "must be set", Verbatim("nothing"), f"Add {key}=..."))
    repeat = find_repeat(find_study(own["study"]), own["trial"])
    folder = new_run_folder(own.get("run") or f"{own['study']}-trial-{own['trial']}")
    return _Job(repeat.run, to_yaml(repeat.tree), folder, repeat)


def _told(job: _Job, outcome: Outcome, metrics: dict[str, float]) -> list[str]:
    name = job.folder.name
    lines = [
        f"run {name}: {outcome.reason}, {duration(outcome.seconds)} on {outcome.hardware}",
        *aligned(metrics),
    ]
    if job.repeat is not None:
        lines.append(job.repeat.compared(outcome))
    following = f"finesweep evaluate run={name}{' split=test' if job.run.data.has_test else ''}"
    return [*lines, f"It {outcome.verdict}.", f"Next: {following}"]


class _Hooks(Hooks):
    def __init__(
        self, run: Run, interrupted: Callable[[], bool], progress: RunProgress | None
    ) -> None:
        self._metric = run.task.metric
        self._strategy = run.flat()["strategy"]
        self._interrupted = interrupted
        self._progress = progress

    def on_network(self, num_trainable: int, num_parameters: int) -> None:
        if self._progress is not None:
            self._progress.point(trained(self._strategy, num_trainable, num_parameters))

    def on_step(self, step: int, num_steps: int) -> None:
        if self._progress is not None:
            self._progress.step(step, num_steps)

    def on_validation(self, point: Point) -> str | None:
        if self._progress is not None:
            value = point.metrics[self._metric]
            losses = f"validation loss {point.validation_loss:.4f}"
            if point.step:
                losses = f"loss {point.train_loss:.4f}, validation {point.validation_loss:.4f}"
            self._progress.point(f"epoch {point.epoch:g}  {self._metric} {value:.4f}  {losses}")
        return None

    def interrupted(self) -> bool:
        return self._interrupted()


def _check_same(path: Path, config: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") != config:
        rule = f"{path} must hold the same configuration to go on"
        fix = "Choose another run=NAME, or the words it began with."
        raise ConfigError(Problem("run", rule, Verbatim("another one"), fix))
