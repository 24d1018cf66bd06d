"""finesweep evaluate: score a winner, a run or an exported model on a split."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lightning_modules.machine.path import typed_path
from search.cli.argument import one_of, parse
from search.report.text import aligned, interval_line
from search.terminal.download import fetch_base, fetch_models
from search.trained.find import check_no_words, find_trained
from search.trained.score import evaluate_exported, evaluate_trained, look_line

ABOUT = """\
Score a study's winner, a run or an exported model. Look at the test split once,
at the end. Studies and runs are scored in the precision they were trained in,
exported models in float32.

  study=NAME         a study's winner, or
  run=NAME           a run of finesweep train, or
  model=DIR          an exported model, with overrides for the data
  split=validation   or train, test

What uses your own code needs search.plugins=[PACKAGE], as in training.

  finesweep evaluate study=mine split=test
  finesweep evaluate run=one
  finesweep evaluate model=best/ split=test data=files data.train=my.csv
"""

SOURCES = ("study", "run", "model")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("evaluate", ABOUT, words, flags=("json", "own"))
    own = {}
    overrides = []
    for word in parsed.overrides:
        key, _, value = word.partition("=")
        # Here `model=DIR` is the exported model, not the group `model`.
        if key in (*SOURCES, "split"):
            own[key] = value
        else:
            overrides.append(word)
    source = one_of("evaluate", own, SOURCES)
    split = own.get("split", "validation")
    if source == "model":
        folder = typed_path(own[source])
        evaluation = evaluate_exported(folder, split, overrides, parsed.config_dir, fetch_base)
    else:
        check_no_words(source, own[source], overrides)
        trained = find_trained(source, own[source])
        fetch_models([(trained.run.model, trained.run.strategy.reads_weights)], show=True)
        evaluation = evaluate_trained(trained, split)
    scores = evaluation.scores()
    look = look_line(trained, split) if source != "model" else None
    if parsed.json:
        print(json.dumps(scores, indent=2))
    else:
        print(f"{source} {own[source]}, {split} rows")
        print("\n".join(aligned(scores)))
        if (kept := evaluation.row_scores()) is not None:
            task, scored = evaluation.task, evaluation.scored
            is_maximized = task.direction == "maximize"
            print(interval_line(task.metric, kept.values, scored, is_maximized=is_maximized))
        if look is not None:
            print(look)
    return 0
