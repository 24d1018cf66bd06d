"""finesweep status: a study's trials and its best so far."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.cli.argument import keys, needed, parse
from search.cli.found import find_study
from search.cli.text import columns, duration, number
from search.results import rows, status
from search.study import Study

ABOUT = """\
Show a study's trials, its best so far and what remains.

  finesweep status study=mine
  finesweep status study=mine --json
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("status", ABOUT, words, flags=("json",))
    found = keys(parsed.overrides, {"study": "its name"})
    study = find_study(needed(found, "study", "NAME"))
    study.requeue_dead()
    if parsed.json:
        print(json.dumps(status(study), indent=2))
    else:
        print("\n".join(_table(study)))
    return 0


def _table(study: Study) -> list[str]:
    state = status(study)
    best = state["best"]
    paths = list(study.plan.space.distributions)
    lines = [["trial", "state", state["metric"], *paths, "time", "how it ended"]]
    for row in rows(study):
        value = f"{row['value']:.4f}" if row["value"] is not None else "-"
        if best is not None and row["number"] == best["number"]:
            value += " best"
        took = duration(row["seconds"]) if row["seconds"] is not None else "-"
        varied = [number(row[path]) for path in paths]
        lines.append([str(row["number"]), row["state"], value, *varied, took, row["reason"] or ""])
    states = ", ".join(f"{count} {name}" for name, count in state["states"].items() if count)
    summary = f"study {state['study']}: {states or 'no trial yet'}; {state['remaining']} of "
    summary += f"{state['num_trials']} remain"
    return [summary, "", *columns(lines)]
