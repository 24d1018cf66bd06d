"""finesweep report: write a study's report, or report on a trial of the caller's own loop."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import attempt_of, needed, number_of, pairs, parse
from search.report.document.write import written
from search.study.ask import as_step
from search.study.report import report
from search.trained.find import find_study
from search.trained.report import write_comparison, write_report

ABOUT = """\
Write the report of a study to its folder: report.html, one file that needs no
network; report.md and card.png for a message; best.yaml, the winner's
configuration. A sweep does so at its end.

  study=NAME  the study; study=A,B writes a page here that compares both
  --watch     write it again every 10 seconds, until the study is over; an open
              page follows

  finesweep report study=mine --watch
  finesweep report study=mine,other

With trial=, report what a trial that finesweep ask gave has measured so far. It
prints `continue`, or `stop` and why: then end it, and tell what it has. Each
report renews the trial for search.ask_hours.

  study=NAME  the study
  trial=N     the trial, as finesweep ask named it
  step=S      how far it is, in any unit that all trials share
  loss=L      the validation loss, which the pruner compares; nan is a reason to
              stop
  NAME=V      other measurements; without a loss, the pruner compares what the
              study optimizes

  finesweep report study=mine trial=3 step=200 loss=0.3 accuracy=0.8 --json
"""

SECONDS = 10
KEYS = ("study", "trial", "step")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("report", ABOUT, words, flags=("json", "watch"))
    found = pairs(parsed.overrides)
    name = needed(found, "study", "NAME")
    if parsed.watch and ("," in name or found.keys() != {"study"}):
        raise ConfigError(Problem("--watch", "follows the report of one study", name))
    if found.keys() == {"study"}:
        try:
            paths = _written(_names(name), watch=parsed.watch)
        except OSError as error:
            print(f"the report could not be written: {error}", file=sys.stderr)
            return 1
        texts = [str(path) for path in paths]
        print(json.dumps({"files": texts}) if parsed.json else "\n".join(texts))
        return 0
    study = find_study(name)
    number, attempt = attempt_of(needed(found, "trial", "N"))
    step = as_step("step", number_of("step", needed(found, "step", "S")))
    metrics = {key: number_of(key, text) for key, text in found.items() if key not in KEYS}
    advice = report(study, number, step, metrics, attempt)
    if parsed.json:
        reason = None if advice is None else advice.reason
        print(json.dumps({"stop": advice is not None, "reason": reason}))
    else:
        print("continue" if advice is None else f"stop: {advice.reason}")
    return 0


def _written(names: Sequence[str], *, watch: bool) -> list[Path]:
    if len(names) > 1:
        return write_comparison([find_study(name) for name in names], Path())
    if watch:
        _follow(names[0])
    return write_report(find_study(names[0]))


def _names(text: str) -> list[str]:
    """Return the names of studies, each once.

    Raises:
        ConfigError: One is empty or there twice.

    """
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        fix = "Write study=NAME, or study=A,B to compare two."
        raise ConfigError(Problem("study", "must be names of studies, each once", text, fix))
    return names


def _follow(name: str) -> None:
    """Write the report again and again until the study is over, or until Ctrl-C."""
    try:
        while not (study := find_study(name)).is_over:
            files, failure = written(partial(write_report, study, seconds=SECONDS))
            trials = f"{study.num_ended} of {study.plan.num_trials} trials"
            print(failure or f"{files[0]}: {trials}", file=sys.stderr)
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        print("The page is written once more, and then stays as it is.", file=sys.stderr)
