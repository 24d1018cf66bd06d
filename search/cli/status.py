"""finesweep status: list the studies, or show one study's trials and its best so far."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from search.cli.argument import keys, parse
from search.report.guard import guard_lines
from search.report.results import rows, snapshot, status, summarize_all
from search.report.text import columns, duration, score, setting, study_list
from search.study.follow import DOES
from search.study.heal import heal
from search.study.study import Study
from search.terminal.certify import certify_lines
from search.terminal.confirm import confirm_lines
from search.terminal.live import LiveTable, is_live
from search.trained.find import find_study

ABOUT = """\
List the studies here; with a name, show that study's trials, its best so far
and how many remain. Trials of dead workers are queued again.

  study=NAME   the study; without it, all are listed

  finesweep status
  finesweep status study=mine --watch
  finesweep status study=mine --json
"""

WATCH_SECONDS = 1.0


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("status", ABOUT, words, flags=("json", "watch"))
    found = keys(parsed.overrides, {"study": "its name"})
    if not found.get("study"):
        return _list(as_json=parsed.json)
    study = find_study(found["study"])
    heal(study)
    if parsed.json:
        print(json.dumps(status(study), indent=2))
    elif parsed.watch and is_live(sys.stdout):
        _watch(study)
    else:
        print("\n".join(_table(study)))
    return 0


def _list(*, as_json: bool) -> int:
    summaries, unread = summarize_all(Path())
    if as_json:
        print(json.dumps([vars(summary) for summary in summaries], indent=2))
    else:
        print("\n".join(study_list(summaries)))
    for line in unread:
        print(line, file=sys.stderr)
    return 2 if unread else 0


def _watch(study: Study) -> None:
    """Show the live table until the study has ended, or Ctrl-C."""
    try:
        with LiveTable(lambda: snapshot(study)):
            while status(study)["remaining"]:
                time.sleep(WATCH_SECONDS)
                heal(study)
    except KeyboardInterrupt:
        return  # ends only the display; the study continues
    for line in (*confirm_lines(study), *certify_lines(study)):
        print(line)


def _table(study: Study) -> list[str]:
    state = status(study)
    objectives, paths = study.plan.objectives, study.plan.space.paths
    best = {
        entry["number"] for entry in state["front"] or ([state["best"]] if state["best"] else [])
    }
    mark = "best" if state["front"] is None else "front"
    lines = [["trial", "state", *(o.name for o in objectives), "", *paths, "time", "how it ended"]]
    for row, trial in zip(rows(study), study.trials, strict=True):
        finished = trial.values if row["state"] == "complete" else [None] * len(objectives)
        took = duration(row["seconds"]) if row["seconds"] is not None else "-"
        lines.append(
            [
                str(row["number"]),
                row["state"],
                *(score(value) for value in finished),
                mark if row["number"] in best else "",
                *(setting(study.params_of(trial), path) for path in paths),
                took,
                row["reason"] or "",
            ]
        )
    states = ", ".join(f"{count} {name}" for name, count in state["states"].items() if count)
    summary = f"study {state['study']}: {states or 'no trial yet'}; {state['remaining']} of "
    summary += f"{state['num_trials']} remain"
    stopping = ["It starts no more trials, because of finesweep stop."] if state["stopping"] else []
    return [
        summary,
        *stopping,
        *_beyond(state["beyond_budget"]),
        *guard_lines(study),
        *confirm_lines(study),
        *certify_lines(study),
        *_follows(study),
        "",
        *columns(lines),
    ]


def _beyond(numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return []
    are = "trial {} is" if len(numbers) == 1 else "trials {} are"
    queued = are.format(", ".join(map(str, numbers)))
    return [f"{queued} queued beyond the budget; search.num_trials={numbers[-1] + 1} is enough."]


def _follows(study: Study) -> list[str]:
    follows = study.plan.composition.follows
    if follows is None:
        return []
    shown = f"finesweep status study={follows.study} has the result"
    return [f"It {DOES[follows.kind]} of study {follows.study}; {shown}."]
