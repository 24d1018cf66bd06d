"""Score trained runs on splits of their data, and exported models on any data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_modules.check import check_same_rows
from lightning_modules.error import ConfigError, Problem
from lightning_modules.export.model import check_exported, load_exported, read_manifest
from lightning_modules.model.based import Fetch
from lightning_modules.rows.corpus import Corpus, Row
from lightning_modules.task.label import of_export
from search.config import build_run, compose, packages_of
from search.machine.quiet import quiet_training
from search.trained.export import Trained
from search.trained.exported import check_reference, exported_base, task_words


def score_trained(trained: Trained, split: str) -> dict[str, float]:
    """Return a trained run's metrics on a split of its own data."""
    corpus = trained.run.data.load(trained.run.task)
    # Changed files may be split differently, and training rows would be scored as unseen.
    check_same_rows(corpus.fingerprint, trained.fingerprint)
    rows = _rows(corpus, split)
    quiet_training()
    return trained.load().score(rows)


def score_exported(
    folder: Path,
    split: str,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    fetch: Fetch | None = None,
) -> dict[str, float]:
    """Return an exported model's metrics.

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
    base = exported_base(folder, plugins, fetch)
    quiet_training()
    return load_exported(folder, run.task, base, plugins).score(rows)


def _rows(corpus: Corpus, split: str) -> Sequence[Row]:
    if split not in corpus.splits:
        rule = f"must be one of {', '.join(corpus.splits)}"
        raise ConfigError(Problem("split", rule, split))
    return corpus.splits[split]
