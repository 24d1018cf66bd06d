"""Score trained runs on splits of their data, and exported models on any data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.error import ConfigError, Problem
from lightning_modules.export.model import base_of, check_exported, load_exported, read_manifest
from lightning_modules.model.based import Fetch
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.task.label import of_export
from search.config import build_run, compose, packages_of
from search.machine.quiet import quiet_training
from search.trained.export import Trained
from search.trained.exported import check_reference, task_words

if TYPE_CHECKING:
    from lightning_modules.export.predictor import Evaluation


TEST = "test"


def evaluate_trained(trained: Trained, split: str) -> Evaluation:
    """Return what a trained run says of a split of its own data."""
    corpus = trained.run.data.load(trained.run.task)
    # Changed files may be split differently, and training rows would be scored as unseen.
    trained.check(corpus)
    rows = _rows(corpus, split)
    quiet_training()
    predictor = trained.load()
    if split == TEST and trained.study is not None:
        trained.study.look(f"evaluate: {trained.origin}")
    return predictor.evaluate(rows)


def look_line(trained: Trained, split: str) -> str | None:
    """Return how often the test rows were scored, if they are and somebody counts it."""
    if split != TEST or trained.study is None:
        return None
    num = len(trained.study.looks)
    return f"Models of this study were scored on its test rows {num} time{'s' * (num != 1)}."


def evaluate_exported(
    folder: Path,
    split: str,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    fetch: Fetch | None = None,
) -> Evaluation:
    """Return what an exported model says of rows.

    Args:
        folder: The export.
        split: The split of the data that `overrides` describe.
        overrides: e.g. `data=files data.train=my.csv`.
        config_dir: A folder with more group options.
        fetch: Downloads the base model; None does so without a word.

    Raises:
        ConfigError: The export cannot be scored on these rows.

    """
    tree = compose("train", [*task_words(folder, config_dir), *overrides], config_dir).tree
    run, plugins = build_run(tree), packages_of(tree)
    check_exported(folder, plugins)
    check_reference(folder, run.task, plugins)
    rows = _rows(run.data.load(run.task), split)
    labels = read_manifest(folder)["labels"]
    run.task.check_known(rows, of_export(labels, run.task.cells.get("label")))
    base = base_of(folder, plugins, fetch)
    quiet_training()
    return load_exported(folder, run.task, base, plugins).evaluate(rows)


def _rows(corpus: Corpus, split: str) -> Sequence[Row]:
    if split not in corpus.splits:
        rule = f"must be one of {', '.join(corpus.splits)}"
        raise ConfigError(Problem("split", rule, split))
    return corpus.splits[split]
