"""finesweep train: one run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_modules.atomic import write_json, write_text
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.logger.base import Identity
from lightning_modules.record import Ending, Point
from lightning_modules.run import CHECKPOINT_FILE, Hooks, fit, inspect
from search.cli.argument import parse
from search.cli.compose import composed
from search.cli.text import duration, number
from search.config import build_run, to_yaml
from search.interrupt import Interrupt
from search.provenance import PROVENANCE_FILE, provenance
from search.runs import METRICS_FILE, check_rows, new_run_folder
from search.study import CONFIG_FILE, run_tree

ABOUT = """\
Train one configuration; its files go to runs/NAME. An interrupted run goes on with the same
command.

  finesweep train run=one strategy=full trainer.epochs=3
  finesweep train run=mine data=files data.train=my.csv optimizer.lr=3e-4
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("train", ABOUT, words, flags=("json", "config"))
    composition = composed("train", parsed)
    if composition is None:
        return 0
    run = build_run(composition.tree)
    folder = new_run_folder(composition.tree["run"])
    config = to_yaml(run_tree(composition.tree, {}))
    _check_same(folder / CONFIG_FILE, config)
    material = inspect(run)
    fingerprint = material.corpus.fingerprint
    if (folder / PROVENANCE_FILE).is_file():
        check_rows(folder, fingerprint)
    else:
        write_text(folder / CONFIG_FILE, config)
        write_json(folder / PROVENANCE_FILE, provenance(run.seed, fingerprint))

    from search.quiet import quiet_training

    quiet_training()
    interrupt = Interrupt()
    hooks = _Hooks(run.task.metric, interrupt, shown=not parsed.json)
    outcome = fit(run, folder, Identity(folder.name, None, folder), hooks)
    if outcome.ending is Ending.interrupted:
        print(f"{outcome.reason}; the same command with run={folder.name} goes on")
        return interrupt.exit_code
    if outcome.best is None or outcome.ending is Ending.diverged:
        print(f"run {folder.name} {outcome.ending.value}: {outcome.reason}", file=sys.stderr)
        return 1
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    metrics = {f"validation/{name}": value for name, value in outcome.best.metrics.items()}
    write_json(folder / METRICS_FILE, metrics)
    if parsed.json:
        print(json.dumps(metrics, indent=2))
        return 0
    print(f"run {folder.name}: {outcome.reason}, {duration(outcome.seconds)} on {outcome.hardware}")
    print(f"{outcome.num_trainable:,} of {outcome.num_parameters:,} parameters trained")
    for name, value in metrics.items():
        print(f"  {name:20s} {number(value)}")
    print(f"It {outcome.verdict}.")
    print(f"Next: finesweep evaluate run={folder.name} split=test")
    return 0


class _Hooks(Hooks):
    def __init__(self, metric: str, interrupted: Callable[[], bool], *, shown: bool) -> None:
        self._metric = metric
        self._interrupted = interrupted
        self._shown = shown

    def progress(self, point: Point) -> str | None:
        if self._shown:
            value = point.metrics[self._metric]
            losses = f"loss {point.train_loss:.4f}, validation {point.validation_loss:.4f}"
            print(f"epoch {point.epoch:g}  {self._metric} {value:.4f}  {losses}", flush=True)
        return None

    def interrupted(self) -> bool:
        return self._interrupted()


def _check_same(path: Path, config: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") != config:
        rule = f"{path} must hold the same configuration to go on"
        fix = "Choose another run=NAME, or the words it began with."
        raise ConfigError(Problem("run", rule, Verbatim("another one"), fix))
