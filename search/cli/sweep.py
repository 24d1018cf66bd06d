"""finesweep sweep: run a study, or go on with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from search.cli.argument import parse
from search.cli.compose import composed
from search.cli.plan import baseline, describe
from search.plan.plan import build_plan
from search.report.dashboard.page import show_study
from search.report.results import TABLE_FILE, status, write_table
from search.report.wandb import publish
from search.storage.location import study_folder
from search.study.prepare import check_study, prepare_study
from search.study.study import Study
from search.terminal.progress import news_of
from search.terminal.summary import summary

ABOUT = """\
Run a study up to its total budget, or go on with it: the same command does
both. Ctrl-C saves a checkpoint, so nothing that was trained is lost.

Any key takes a range in place of a value. A shell wants it quoted:
  'optimizer.lr=tag(log,interval(1e-5,5e-3))'  'data.batch_size=choice(8,16,32)'
  'trainer.epochs=range(1,5)' (1 to 4)         'strategy=choice(lora,full)'
  'optimizer.lr[full]=tag(log,interval(1e-5,1e-4))' (where the strategy is full)
Without ranges, those of search/space=default are searched; a plain value takes
its key out of them, and search/space=none starts from nothing.

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
    plan = build_plan(composition)
    folder = study_folder(Path(), plan.name)
    material = check_study(plan, folder)
    study = prepare_study(plan, folder, material)
    task = describe(plan, material, composition.fixed)
    print("\n".join(task))
    show_study(study.optuna, folder, task)
    if study.num_ended:
        print(f"goes on: {study.num_ended} of {plan.num_trials} trials have ended")
    sys.stdout.flush()
    code = _work(study)
    try:
        write_table(study)
    except OSError as error:
        print(f"{study.folder}/{TABLE_FILE} could not be written: {error}", file=sys.stderr)
    splits = material.corpus.splits
    num_rows = len(splits["train"]), len(splits["validation"])
    print("\n".join(summary(study, words, baseline(plan, material), num_rows)), flush=True)
    publish(study)
    return code or int(study.best is None)


def _work(study: Study) -> int:
    num_left = status(study)["remaining"]
    if num_left == 0:
        return 0
    with news_of(study) as tell:
        if study.plan.search.settings.workers == 0:
            from search.worker.worker import work_here

            return work_here(study.folder, tell)
        from search.engine.local import Supervisor

        num_workers = min(study.plan.search.settings.workers, num_left)
        return Supervisor(study, num_workers, tell).run()
