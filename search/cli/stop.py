"""finesweep stop: end a study after its running trials."""

from __future__ import annotations

from collections.abc import Sequence

from search.cli.argument import keys, needed, parse
from search.study.follow import ask_to_stop
from search.trained.find import find_study

ABOUT = """\
Start no more trials of a study, wherever its workers run; running trials
finish. The same sweep command continues the study.

  study=NAME   the study

  finesweep stop study=mine
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("stop", ABOUT, words)
    found = keys(parsed.overrides, {"study": "its name"})
    study = find_study(needed(found, "study", "NAME"))
    num_running = len(ask_to_stop(study))
    ends = {0: "now", 1: "after its running trial"}.get(num_running)
    print(f"study {study.plan.name} ends {ends or f'after its {num_running} running trials'}")
    return 0
