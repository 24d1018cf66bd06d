"""A run counts the tokens that it trains, and measures its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from lightning_modules.batch.type import IGNORED
from lightning_modules.cache import Cache
from lightning_modules.callback.checkpoint_file import read_checkpoint
from lightning_modules.callback.speed import count
from lightning_modules.check import load_rows
from lightning_modules.folder import CHECKPOINT_FILE, OUTCOME_FILE
from lightning_modules.logger.base import Identity, Logger, RunLog
from lightning_modules.network import build_tokenizer
from lightning_modules.outcome import Ending, read_outcome
from lightning_modules.run import Run
from tests.training import Listener, tiny_run, train


class Kept(RunLog):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.values: list[tuple[int, dict[str, float]]] = []
        self.summary: Mapping[str, Any] = {}

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.values.append((step, dict(values)))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary


class KeptLogger(Logger):
    log = Kept()

    def open(self, identity: Identity, config: Mapping[str, Any], note: Any = None) -> RunLog:
        return self.log


def num_tokens(run: Run) -> int:
    """Return the tokens of one epoch, counted row by row."""
    checked = load_rows(run, Cache())
    rows = checked.corpus.splits["train"]
    tokenizer = build_tokenizer(run, rows, Cache())
    columns = run.task.encode(rows, tokenizer, run.data.max_length, checked.labels)
    return sum(map(len, columns["input_ids"]))


def test_every_token_without_padding_is_counted_and_the_rest_is_not(
    learnable: Path, here: Path
) -> None:
    run = tiny_run(learnable, "trainer.epochs=3", "trainer.log_every_steps=4")
    KeptLogger.log = kept = Kept()
    outcome = train(replace(run, logger=KeptLogger()), here / "run")
    assert outcome.tokens_per_second is not None and outcome.mfu is None
    seconds = 3 * num_tokens(run) / outcome.tokens_per_second
    assert 0 < seconds < outcome.seconds
    assert outcome.peak_memory_gib == outcome.memory_bytes / 2**30 > 0.01
    assert read_outcome(here / "run" / OUTCOME_FILE).tokens_per_second == outcome.tokens_per_second
    trained = [values for _, values in kept.values if "train/loss" in values]
    assert [step for step, values in kept.values if "train/loss" in values] == list(
        range(4, outcome.points[-1].step + 1, 4)
    )
    assert all(values["train/tokens_per_second"] > 0 for values in trained)
    assert all(values["train/gradient_norm"] > 0 for values in trained)
    assert kept.summary["gradient_norm"] == outcome.gradient_norm
    assert kept.summary["tokens_per_second"] == outcome.tokens_per_second
    assert kept.summary["peak_memory_gib"] == outcome.peak_memory_gib


def test_a_resumed_run_counts_each_step_once(learnable: Path, here: Path) -> None:
    run = tiny_run(learnable, "trainer.epochs=2", "trainer.log_every_steps=1")
    KeptLogger.log = kept = Kept()
    whole = train(replace(run, logger=KeptLogger()), here / "whole")
    norms = [values.get("train/gradient_norm") for _, values in kept.values]
    assert whole.gradient_norm == pytest.approx(mean(norm for norm in norms if norm is not None))
    assert train(run, here / "run", Listener(stop=5)).ending is Ending.interrupted
    before = read_checkpoint(here / "run" / CHECKPOINT_FILE).record
    assert 0 < before.num_tokens < 2 * num_tokens(run)
    outcome = train(run, here / "run")
    assert outcome.tokens_per_second is not None
    assert 2 * num_tokens(run) / outcome.tokens_per_second > before.train_seconds
    assert before.num_norms == 5 and outcome.gradient_norm == whole.gradient_norm


def test_padding_and_ignored_labels_do_not_count() -> None:
    ids_BT = torch.tensor([[5, 6, 7], [5, 0, 0]])
    labels_BT = torch.tensor([[IGNORED, 6, 7], [6, IGNORED, IGNORED]])
    mask_BT = torch.tensor([[1, 1, 1], [1, 0, 0]])
    batch = {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT}
    assert count(batch, reads_targets=False) == (4, 3)
    assert count(batch, reads_targets=True) == (7, 3)
    assert count({"input_ids": ids_BT}, reads_targets=False) == (6, 0)
    assert count({"input_ids": ids_BT, "labels": torch.zeros(2)}, reads_targets=False) == (6, 0)


@pytest.mark.parametrize("words", [("strategy=prompting",)])
def test_a_run_without_steps_has_no_speed(
    learnable: Path, here: Path, words: tuple[str, ...]
) -> None:
    outcome = train(tiny_run(learnable, *words), here / "run")
    assert outcome.tokens_per_second is None and outcome.mfu is None
    assert outcome.gradient_norm is None
