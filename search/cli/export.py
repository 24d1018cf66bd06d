"""finesweep export: write a trial, or a run, as a model that other libraries load."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.machine.path import typed_path
from search.cli.argument import keys, needed, one_of, parse, trial_of
from search.machine.quiet import quiet_training
from search.terminal.download import fetch_models
from search.trained.export import check_new, export
from search.trained.find import find_trained

ABOUT = """\
Write a study's trial, or a run, to a new folder, with a README that shows how
to load it.

  study=NAME   a study's winner, or
  run=NAME     a run of finesweep train
  trial=3      another finished trial of the study, if its weights were kept:
               search.keep says of how many
  to=DIR       a new folder; nothing is overwritten
  merge=false  write the adapter alone, without the weights that it adapts

What uses your own code needs search.plugins=[PACKAGE], as in training.

The strategy decides what is written: all weights for transformers' Auto
classes, in the number format of the model's file; with lora and qlora the
merged weights, and adapter/ for PEFT; with feature_extraction the head, and the
backbone only if it cannot be downloaded.

  finesweep export study=mine to=best/
  finesweep export study=mine trial=3 to=third/ merge=false
  finesweep export run=one to=one/
"""

SOURCES = ("study", "run")
KNOWN = {
    "study": "its name",
    "run": "its name",
    "trial": "the trial's number",
    "to": "the new folder",
    "merge": "false for the adapter alone",
}


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("export", ABOUT, words)
    found = keys(parsed.overrides, KNOWN)
    source = one_of("export", found, SOURCES)
    to = typed_path(needed(found, "to", "best/"))
    merge = found.get("merge", "true")
    if merge not in ("true", "false"):
        raise ConfigError(Problem("merge", "must be true or false", merge))
    trial = trial_of(found)
    if trial is not None and source == "run":
        fix = "Write study=NAME trial=3."
        raise ConfigError(
            Problem("trial", "belongs to a study", Verbatim(f"run={found[source]}"), fix)
        )
    check_new(to)
    trained = find_trained(source, found[source], trial)
    fetch_models([(trained.run.model, trained.run.strategy.reads_weights)], show=True)
    quiet_training()
    export(trained, to, merge=merge == "true")
    print(f"{trained.origin} is in {to}/; {to}/README.md shows how to load it")
    print(f"Next: finesweep predict model={to} input=new.csv output=predictions.jsonl")
    return 0
