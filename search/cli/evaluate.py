"""finesweep evaluate: score a winner, a run or an exported model on a split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem, Verbatim
from lightning_modules.rows.corpus import Corpus, Row
from search.cli.argument import one_of, parse
from search.config import build_run, compose
from search.machine.quiet import quiet_training
from search.report.text import aligned
from search.trained.exported import exported_base, task_words
from search.trained.find import find_trained

ABOUT = """\
Score a study's winner, a run or an exported model. Look at the test split once,
at the end. A study and a run are scored in the precision that they were trained
in, an exported model in float32.

  study=NAME         a study's winner, or
  run=NAME           a run of finesweep train, or
  model=DIR          an exported model, with the words of its data set
  split=validation   or train, test

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
        # `model=DIR` is the exported model; `model` as a group is none of this command's.
        if key in (*SOURCES, "split"):
            own[key] = value
        else:
            overrides.append(word)
    source = one_of("evaluate", own, SOURCES)
    if overrides and source != "model":
        key = overrides[0].partition("=")[0]
        rule = f"{source}={own[source]} brings its own data"
        raise ConfigError(Problem(key, rule, Verbatim(overrides[0])))
    split = own.get("split", "validation")
    if source == "model":
        scores = _scores_exported(Path(own[source]), split, overrides, parsed.config_dir)
    else:
        scores = _scores(source, own[source], split)
    if parsed.json:
        print(json.dumps(scores, indent=2))
    else:
        print(f"{source} {own[source]}, {split} rows")
        print("\n".join(aligned(scores)))
    return 0


def _scores(source: str, name: str, split: str) -> dict[str, float]:
    trained = find_trained(source, name)
    corpus = trained.run.data.load(trained.run.task)
    # Files that changed may be split in another way: trained rows would be scored as new.
    check_same_rows(corpus.fingerprint, trained.fingerprint)
    rows = _rows(corpus, split)
    quiet_training()
    return trained.load().score(rows)


def _scores_exported(
    folder: Path, split: str, overrides: Sequence[str], config_dir: Path | None
) -> dict[str, float]:
    from lightning_modules.export.model import load_exported, read_manifest

    labels = read_manifest(folder)["labels"]
    tree = compose("train", [*task_words(folder), *overrides], config_dir).tree
    run, plugins = build_run(tree), tree["search"]["plugins"]
    task = run.task
    rows = _rows(run.data.load(task), split)
    task.check_known(rows, labels)
    base = exported_base(folder, plugins)
    quiet_training()
    return load_exported(folder, task, base, plugins).score(rows)


def _rows(corpus: Corpus, split: str) -> Sequence[Row]:
    if split not in corpus.splits:
        rule = f"must be one of {', '.join(corpus.splits)}"
        raise ConfigError(Problem("split", rule, split))
    return corpus.splits[split]
