"""finesweep ask: the next trial of a study, for a loop of the caller's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from search.cli.argument import keys, needed, parse
from search.report.results import status
from search.study.ask import ask, handle
from search.study.study import Study
from search.terminal.asked import setting_lines
from search.trained.find import find_study

ABOUT = """\
Get the next trial of a study that a loop, a script or an agent of yours trains.
It is yours for search.ask_hours after the last report, then others get it. Exit
code 3: none is left for now. A study is of this kind if it was started with
search.ask_tell=true; with search.metric=NAME and search.direction=maximize (or
minimize), the searched names and the metric are your own.

  study=NAME   the study

  finesweep ask study=mine
  finesweep ask study=mine --json
"""

NONE_LEFT = 3


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("ask", ABOUT, words, flags=("json",))
    found = keys(parsed.overrides, {"study": "its name"})
    study = find_study(needed(found, "study", "NAME"))
    attempt = ask(study)
    if attempt is None:
        reason = _why_none(study)
        print(json.dumps({"trial": None, "reason": reason}) if parsed.json else reason)
        return NONE_LEFT
    name = handle(attempt.number, attempt.attempt)
    for note in attempt.notes:
        print(note, file=sys.stderr)
    if parsed.json:
        values = {
            "trial": name,
            "number": attempt.number,
            "attempt": attempt.attempt,
            "params": dict(attempt.values),
            "folder": str(attempt.folder),
        }
        print(json.dumps(values))
        return 0
    print(f"trial {name} of study {study.plan.name}")
    print("\n".join(setting_lines(study.plan.space, attempt.values)))
    print(f"folder {attempt.folder}")
    hours = f"{study.plan.search.settings.ask_hours:g} h"
    print(f"Within {hours}: finesweep tell study={study.plan.name} trial={name} value=V")
    return 0


def _why_none(study: Study) -> str:
    """Return why no trial is available, in words."""
    state = status(study)
    name, num_running = study.plan.name, state["states"]["running"]
    if study.is_stopping:
        return f"study {name} was stopped: it starts no more trials"
    if study.hours_used_up:
        hours = study.plan.search.settings.max_hours
        return f"study {name}: search.max_hours={hours:g} is used up"
    if not state["remaining"]:
        return f"study {name}: all {study.plan.num_trials} trials have ended"
    others = "trial has" if num_running == 1 else "trials have"
    return f"study {name}: none is left for now; {num_running} {others} not been told yet"
