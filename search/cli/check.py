"""finesweep check: look for faults in the data before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from search.cli.argument import parse
from search.cli.compose import composed
from search.config import build_run
from search.terminal.check import checked_data
from search.terminal.download import say_pending
from search.trained.checked import FEATURES, study_to_check

ABOUT = """\
Look for faults in the data before you train on them: rows that cannot be read,
duplicates and near duplicates within and between splits, texts with different
labels, labels that are probably wrong, rare classes, mixed scripts; and the
scores of simple models that a trained one must beat. Nothing is changed. The
exit code is 2 if a sweep would refuse the data. With study=NAME, the rows of a
study.

  finesweep check data=files data.train=my.csv data.text=review data.label=stars
  finesweep check data=files data.train=my.csv --json
  finesweep check study=mine
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("check", ABOUT, words, flags=("json", "config"))
    run = study_to_check(parsed.overrides)
    if run is None:
        parsed.overrides.append(FEATURES)
        composition = composed("train", parsed)
        if composition is None:
            return 0
        say_pending(composition)
        run = build_run(composition.tree)
    report = checked_data(run, show=True)
    if parsed.json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(report.lines()))
    return 2 if report.is_refused else 0
