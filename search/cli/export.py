"""finesweep export: the winner as a model that others load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.cli.argument import keys, needed, parse
from search.cli.found import find_study
from search.export import check_new, export, winner

ABOUT = """\
Write a study's winner to a new folder, with a README that tells how to load it.

  study=NAME   the study
  to=DIR       the folder; nothing is overwritten

What it holds is the strategy's: all weights for transformers' Auto classes;
with lora these merged, and adapter/ alone for PEFT; with feature_extraction
the head, and the backbone only where nobody else could fetch it.

  finesweep export study=mine to=best/
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("export", ABOUT, words)
    found = keys(parsed.overrides, {"study": "its name", "to": "the new folder"})
    study = find_study(needed(found, "study", "NAME"))
    to = Path(needed(found, "to", "best/"))
    check_new(to)
    trained = winner(study)
    from search.quiet import quiet_training

    quiet_training()
    export(trained, to)
    print(f"{trained.origin} is in {to}/; {to}/README.md tells how to load it")
    print(f"Next: finesweep predict model={to} input=new.csv output=predictions.jsonl")
    return 0
