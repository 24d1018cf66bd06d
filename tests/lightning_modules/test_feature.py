"""A network's frozen part runs once per row, and the results are those of the whole network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.check import load_rows
from lightning_modules.export.predictor import load_trained
from lightning_modules.feature import load_features
from lightning_modules.machine.store import FEATURES
from lightning_modules.model.pooled import PooledClassifier
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from tests.conftest import write_jsonl
from tests.cut import assert_cut_is_whole
from tests.training import Listener, tiny_run, train

FROZEN = ("strategy=feature_extraction", "strategy.lr=1e-2", "trainer.epochs=3")


class Reader(Listener):
    """Counts the examples that the frozen part reads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_read = 0

    def on_features(self, num_examples: int, seconds: float, num_bytes: int) -> None:
        self.num_read += num_examples


@pytest.fixture(autouse=True)
def cache_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    return here / "cache" / FEATURES


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable, *FROZEN)


def whole(run: Run) -> Run:
    return replace(run, trainer=replace(run.trainer, cache_features=False))


def curve(outcome: Outcome) -> list[float]:
    return [point.validation_loss for point in outcome.points]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("data.batch_size=5",),
        ("trainer.micro_batch_size=3",),
        ("trainer.num_data_workers=1",),
        ("trainer.precision=bf16",),
        ("trainer.max_grad_norm=0.01", "optimizer.weight_decay=0.1"),
    ],
)
def test_the_curve_is_that_of_the_whole_network(
    make_run: Callable[..., Run], here: Path, words: tuple[str, ...]
) -> None:
    run, reader = make_run(*words), Reader()
    quick, slow = train(run, here / "quick", reader), train(whole(run), here / "slow")
    assert reader.num_read == run_rows(here, run)
    tolerance = 1e-3 if "trainer.precision=bf16" in words else 1e-5
    assert curve(quick) == pytest.approx(curve(slow), rel=tolerance)
    assert quick.best is not None and slow.best is not None
    assert quick.best.step == slow.best.step


def run_rows(here: Path, run: Run) -> int:
    """Return the number of training and validation rows."""
    splits = load_rows(run, Cache()).corpus.splits
    return len(splits["train"]) + len(splits["validation"])


def test_a_validation_passes_the_head_once(make_run: Callable[..., Run], here: Path) -> None:
    quick, slow = Reader(), Reader()
    run = make_run("data.validation_fraction=0.45")
    train(run, here / "quick", quick)
    train(whole(run), here / "slow", slow)
    passes = [sum("validating" in each for each in reader.phases) for reader in (quick, slow)]
    assert passes == [6, 6 * 2]  # of two validations an epoch; 72 texts, 64 at once


def test_several_labels_per_text_too(here: Path) -> None:
    rows = [
        {
            "text": f"the {'red' if n % 2 else 'blue'} {'car' if n % 3 else 'house'} {n}",
            "labels": [],
        }
        for n in range(60)
    ]
    for number, row in enumerate(rows):
        row["labels"] = [name for name, by in (("red", 2), ("car", 3)) if number % by]
    path = write_jsonl(here / "rows.jsonl", rows)
    run = tiny_run(path, "task=multi_label_classification", *FROZEN)
    quick, slow = train(run, here / "quick"), train(whole(run), here / "slow")
    assert curve(quick) == pytest.approx(curve(slow), rel=1e-5)


def test_a_later_run_of_the_same_worker_reads_nothing(
    make_run: Callable[..., Run], here: Path
) -> None:
    cache, first, second, third = Cache(), Reader(), Reader(), Reader()
    train(make_run(), here / "first", first, cache)
    train(make_run("strategy.lr=1e-3", "data.batch_size=4"), here / "second", second, cache)
    train(make_run("data.max_length=7"), here / "third", third, cache)
    assert first.num_read > 0
    assert second.num_read == 0
    assert third.num_read == first.num_read  # texts cut elsewhere have other features


def test_another_worker_reads_them_from_the_disk(
    make_run: Callable[..., Run], here: Path, cache_of_its_own: Path
) -> None:
    first, second = Reader(), Reader()
    expected = train(make_run(), here / "first", first, Cache())
    assert curve(train(make_run(), here / "second", second, Cache())) == curve(expected)
    assert second.num_read == 0
    assert len(list(cache_of_its_own.iterdir())) == 2  # training and validation rows


class SlowReader(Reader):
    """Makes the reading of each set of rows take at least as long as `SLOW_SECONDS`."""

    def heartbeat(self, doing: str) -> None:
        if doing.startswith("computing features, example 0 "):
            time.sleep(SLOW_SECONDS)


SLOW_SECONDS = 0.5


def test_scoring_counts_the_frozen_part_that_validations_on_stored_features_spare(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("data.test_fraction=0.3")
    train(run, here / "first", SlowReader(), Cache())
    second = Reader()
    outcome = train(run, here / "second", second, Cache())
    assert second.num_read == 0
    splits = load_rows(run, Cache()).corpus.splits
    assert outcome.scoring_seconds is not None
    num_validation, num_test = len(splits["validation"]), len(splits["test"])
    assert outcome.scoring_seconds * num_validation / num_test > SLOW_SECONDS


def test_damaged_features_are_computed_again(
    make_run: Callable[..., Run], here: Path, cache_of_its_own: Path
) -> None:
    expected, reader = train(make_run(), here / "first"), Reader()
    for path in cache_of_its_own.glob("*/features"):
        content = bytearray(path.read_bytes())
        content[100] ^= 64
        path.write_bytes(content)
    assert curve(train(make_run(), here / "second", reader)) == curve(expected)
    assert reader.num_read == run_rows(here, make_run())
    assert len([text for text in reader.warnings if "is damaged, and is made again" in text]) == 2


def test_other_weights_and_another_precision_have_their_own(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = ((), ("seed=1",), ("trainer.precision=bf16",), ("model.width=16",))
    for number, words in enumerate(cases):
        reader = Reader()
        train(make_run(*words), here / str(number), reader)
        assert reader.num_read > 0, words
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    reader = Reader()
    train(make_run(), here / "without TF32", reader)
    assert reader.num_read > 0


def test_features_that_another_worker_has_removed_are_missing_not_broken(
    make_run: Callable[..., Run], here: Path, cache_of_its_own: Path
) -> None:
    train(make_run(), here / "run")
    entry = next(cache_of_its_own.iterdir())
    assert load_features(entry).values.ndim == 2
    (entry / FEATURES).unlink()
    with pytest.raises(FileNotFoundError):
        load_features(entry)


TOP = ("strategy=freeze", "strategy.num_layers=1", "strategy.lr=1e-2", "trainer.epochs=3")
"""A network whose lower layer is frozen, with features of tokens."""


@pytest.mark.parametrize("words", [(), ("data.batch_size=5", "trainer.micro_batch_size=3")])
def test_features_of_tokens_train_as_the_whole_network(
    learnable: Path, here: Path, words: tuple[str, ...]
) -> None:
    run, reader = tiny_run(learnable, *TOP, *words), Reader()
    quick, slow = train(run, here / "quick", reader), train(whole(run), here / "slow")
    assert reader.num_read == run_rows(here, run)
    assert curve(quick) == pytest.approx(curve(slow), rel=1e-5)


def test_answers_train_on_features_of_tokens(here: Path) -> None:
    rows = [{"text": f"how is {n} car", "label": "red" if n % 2 else "blue"} for n in range(60)]
    path = write_jsonl(here / "rows.jsonl", rows)
    words = ("task=generation", "task.label=label", "task.num_generated=2", "model.kind=decoder")
    run, reader = tiny_run(path, *TOP, *words), Reader()
    quick, slow = train(run, here / "quick", reader), train(whole(run), here / "slow")
    assert reader.num_read == run_rows(here, run)
    assert curve(quick) == pytest.approx(curve(slow), rel=1e-5)
    assert quick.best is not None and slow.best is not None
    assert quick.best.metrics == pytest.approx(dict(slow.best.metrics), rel=1e-4)


@pytest.mark.thorough
def test_a_resumed_run_on_features_of_tokens_is_bit_equal(learnable: Path, here: Path) -> None:
    assert_cut_is_whole(tiny_run(learnable, *TOP), here, 5)


def test_a_run_of_less_than_an_epoch_reads_no_row_that_it_does_not_need(
    make_run: Callable[..., Run], here: Path
) -> None:
    reader = Reader()
    outcome = train(make_run("trainer.max_steps=1"), here / "run", reader)
    assert reader.num_read == 0
    assert outcome.ending is Ending.finished


def test_features_that_would_take_too_much_space_are_not_kept_and_it_says_so(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, run = Reader(), make_run()
    slow = train(whole(run), here / "slow")
    monkeypatch.setenv("FINESWEEP_CACHE_GB", "1e-6")
    quick = train(run, here / "quick", reader)
    assert reader.num_read == 0
    assert [text for text in reader.warnings if "runs again in every epoch" in text]
    assert curve(quick) == curve(slow)


def test_running_out_of_memory_halves_the_rows_at_once(
    make_run: Callable[..., Run],
    here: Path,
    cache_of_its_own: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pooled, sizes = PooledClassifier.pooled, []

    def scarce(self: PooledClassifier, **inputs: Any) -> torch.Tensor:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 10:
            raise torch.OutOfMemoryError
        return pooled(self, **inputs)

    expected = train(make_run(), here / "expected")
    shutil.rmtree(cache_of_its_own)
    monkeypatch.setattr(PooledClassifier, "pooled", scarce)
    outcome = train(make_run(), here / "run")
    assert curve(outcome) == pytest.approx(curve(expected), rel=1e-5)
    assert [size for size in sizes if size > 10] == [64, 32, 16, 24, 12]  # each split finds it once


def test_an_interrupted_reading_ends_the_run_and_it_can_be_resumed(
    make_run: Callable[..., Run], here: Path
) -> None:
    class Now(Reader):
        def interrupted(self) -> bool:
            return True

    outcome = train(make_run(), here / "run", Now())
    assert outcome.ending is Ending.interrupted
    assert "computed features" in outcome.reason
    resumed, expected = train(make_run(), here / "run"), train(make_run(), here / "expected")
    assert curve(resumed) == curve(expected)


@pytest.mark.thorough
def test_a_resumed_run_is_bit_equal(make_run: Callable[..., Run], here: Path) -> None:
    assert_cut_is_whole(make_run(), here, 5)


def test_the_saved_network_scores_texts_as_the_validation_did(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run()
    outcome = train(run, here / "run")
    checked = load_rows(run, Cache())
    predictor = load_trained(run, here / "run", checked.labels)
    scores = predictor.score(checked.corpus.splits["validation"])
    assert outcome.best is not None
    assert scores == pytest.approx(outcome.best.metrics, abs=1e-5)
