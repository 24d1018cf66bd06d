"""finesweep stop: let a study end after its running trials."""

from __future__ import annotations

from collections.abc import Sequence

from search.cli.argument import keys, needed, parse
from search.trained.find import find_study

ABOUT = """\
Let a study begin no further trial, wherever its workers run: the running ones
go on to their end. The same sweep command takes the study up again.

  study=NAME   the study

  finesweep stop study=mine
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("stop", ABOUT, words)
    found = keys(parsed.overrides, {"study": "its name"})
    study = find_study(needed(found, "study", "NAME"))
    study.ask_to_stop(True)
    num_running = sum(trial.state.name == "RUNNING" for trial in study.trials)
    ends = {0: "now", 1: "with its running trial"}.get(num_running)
    print(f"study {study.plan.name} ends {ends or f'with its {num_running} running trials'}")
    return 0
