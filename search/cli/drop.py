"""finesweep drop: take a trial out of consideration."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lightning_modules.error import ConfigError, Problem
from search.cli.argument import keys, needed, parse, trial_of
from search.study.pick import drop_trial
from search.trained.find import find_study

ABOUT = """\
Take a trial out of consideration: it is neither the best nor ranked, and the
sampler and the pruner ignore it. It still counts in the budget. A trial that
waits leaves the queue; one that runs stops at its next validation.

  study=NAME   the study
  trial=3      the trial's number
  undo=true    take the trial back into consideration

  finesweep drop study=mine trial=3
  finesweep drop study=mine trial=3 undo=true
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("drop", ABOUT, words, flags=("json",))
    known = {"study": "its name", "trial": "its number", "undo": "true to take it back"}
    found = keys(parsed.overrides, known)
    name, text = needed(found, "study", "NAME"), needed(found, "trial", "NUMBER")
    trial_of(found)
    undo = found.get("undo", "false")
    if undo not in ("true", "false"):
        raise ConfigError(Problem("undo", "must be true or false", undo))
    study = find_study(name)
    state = drop_trial(study, int(text), undo=undo == "true")
    best = study.best
    if parsed.json:
        result = {"study": name, "trial": int(text), "dropped": undo == "false"}
        print(json.dumps({**result, "best": None if best is None else best.number}, indent=2))
        return 0
    now = "no trial has finished" if best is None else f"the best is trial {best.number}"
    print(f"trial {text} of study {name} {state}; {now}")
    return 0
