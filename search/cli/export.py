"""finesweep export: the winner as a model that others load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.cli.argument import keys, needed, parse
from search.cli.found import find_study
from search.export import check_new, export, winner

ABOUT = """\
Write a study's winner to a new folder, with a model card.

  full                  weights for transformers' Auto classes
  lora                  the same with the adapter merged; adapter/ holds it alone, for PEFT
  feature_extraction    the head; the backbone stays where it is, README.md loads both

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
