"""finesweep sweep: run a study, or continue it."""

from __future__ import annotations

from collections.abc import Sequence

from search.cli.argument import parse
from search.cli.compose import composed
from search.sweep.sweep import run_study

ABOUT = """\
Run a study up to its total budget, or continue it: the same command does both.
Ctrl-C saves a checkpoint, so no training is lost.

Any key takes a range in place of a value. Quote it for the shell:
  'optimizer.lr=tag(log,interval(1e-5,5e-3))'  'data.batch_size=choice(8,16,32)'
  'trainer.epochs=range(1,5)' (1 to 4)         'strategy=choice(lora,full)'
  'optimizer.lr[full]=tag(log,interval(1e-5,1e-4))' (if the strategy is full)
Without ranges, those of search/space=default are searched; a plain value
removes its key from them, and search/space=none starts with no ranges.

  finesweep sweep study=first
  finesweep sweep study=mine data=files data.train=my.csv search.num_trials=20
  finesweep sweep study=ways 'strategy=choice(feature_extraction,lora,full)'
"""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    parsed = parse("sweep", ABOUT, words, flags=("config",))
    composition = composed("sweep", parsed)
    if composition is None:
        return 0
    done = run_study(composition, words)
    if done.study.plan.is_asked:
        return 0
    return done.code or int(done.study.best is None)
