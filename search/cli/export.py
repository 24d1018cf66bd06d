"""finesweep export: a winner, or a run, as a model that others load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.cli.argument import keys, needed, one_of, parse
from search.machine.quiet import quiet_training
from search.trained.export import check_new, export
from search.trained.find import find_trained, plugins_of

ABOUT = """\
Write a study's winner, or a run, to a new folder, with a README that tells how
to load it.

  study=NAME   a study's winner, or
  run=NAME     a run of finesweep train
  to=DIR       the folder; nothing is overwritten

A run with a part of your own needs search.plugins=[PACKAGE], as its training did.

What it holds is the strategy's: all weights for transformers' Auto classes;
with lora these merged, and adapter/ alone for PEFT; with feature_extraction
the head, and the backbone only where nobody else could fetch it.

  finesweep export study=mine to=best/
  finesweep export run=one to=one/
"""

SOURCES = ("study", "run")
PLUGINS = "search.plugins"


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("export", ABOUT, words)
    known = {"study": "its name", "run": "its name", "to": "the new folder", PLUGINS: "packages"}
    found = keys(parsed.overrides, known)
    source = one_of("export", found, SOURCES)
    to = Path(needed(found, "to", "best/"))
    check_new(to)
    plugins = [word for word in parsed.overrides if word.startswith(f"{PLUGINS}=")]
    trained = find_trained(source, found[source], plugins_of(source, found[source], plugins))
    quiet_training()
    export(trained, to)
    print(f"{trained.origin} is in {to}/; {to}/README.md tells how to load it")
    print(f"Next: finesweep predict model={to} input=new.csv output=predictions.jsonl")
    return 0
