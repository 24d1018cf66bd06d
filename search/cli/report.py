"""finesweep report: write a study's report, or report on a trial of the caller's own loop."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.cli.argument import attempt_of, needed, number_of, pairs, parse
from search.study.ask import as_step
from search.study.report import report
from search.trained.find import find_study
from search.trained.report import write_report

ABOUT = """\
Write the report of a study to its folder: report.html, one file that needs no
network; report.md for a message; best.yaml, the winner's configuration. A sweep
does so at its end.

  study=NAME  the study

  finesweep report study=mine

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

  finesweep report study=mine trial=3 step=100 loss=0.4
  finesweep report study=mine trial=3 step=200 loss=0.3 accuracy=0.8 --json
"""

KEYS = ("study", "trial", "step")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("report", ABOUT, words, flags=("json",))
    found = pairs(parsed.overrides)
    study = find_study(needed(found, "study", "NAME"))
    if found.keys() == {"study"}:
        paths = [str(path) for path in write_report(study)]
        print(json.dumps({"files": paths}) if parsed.json else "\n".join(paths))
        return 0
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
