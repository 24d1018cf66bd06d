"""A network's frozen part runs once per row, and the results are those of the whole network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules import feature
from lightning_modules.cache import Cache
from lightning_modules.check import load_rows
from lightning_modules.export.predictor import load_trained
from lightning_modules.model.pooled import PooledClassifier
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from lightning_modules.strategy.feature_extraction import FeatureExtraction
from tests.conftest import write_jsonl
from tests.cut import assert_cut_is_whole
from tests.training import Listener, tiny_run, train

FROZEN = ("strategy=feature_extraction", "strategy.lr=1e-2", "trainer.epochs=3")


@dataclass(frozen=True, kw_only=True)
class Whole(FeatureExtraction):
    """The same strategy, without a part that is run once."""

    def stem(self, network: Any) -> None:
        return None


class Reader(Listener):
    """Counts the examples that the frozen part reads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_read = 0

    def on_features(self, num_examples: int, seconds: float) -> None:
        self.num_read += num_examples


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable, *FROZEN)


def whole(run: Run) -> Run:
    return replace(run, strategy=Whole(**asdict(run.strategy)))


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


def test_a_run_of_less_than_an_epoch_reads_no_row_that_it_does_not_need(
    make_run: Callable[..., Run], here: Path
) -> None:
    reader = Reader()
    outcome = train(make_run("trainer.max_steps=1"), here / "run", reader)
    assert reader.num_read == 0
    assert outcome.ending is Ending.finished


def test_features_that_would_take_too_much_memory_are_not_kept_and_it_says_so(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature, "MAX_BYTES", 1000)
    reader, run = Reader(), make_run()
    quick, slow = train(run, here / "quick", reader), train(whole(run), here / "slow")
    assert reader.num_read == 0
    assert [text for text in reader.warnings if "runs again in every epoch" in text]
    assert curve(quick) == curve(slow)


def test_running_out_of_memory_halves_the_rows_at_once(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled, sizes = PooledClassifier.pooled, []

    def scarce(self: PooledClassifier, **inputs: Any) -> torch.Tensor:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 10:
            raise torch.OutOfMemoryError
        return pooled(self, **inputs)

    expected = train(make_run(), here / "expected")
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
