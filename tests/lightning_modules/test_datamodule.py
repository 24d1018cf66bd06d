from __future__ import annotations

import multiprocessing
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from lightning_modules.batch.featured import Features
from lightning_modules.cache import Cache
from lightning_modules.check import check_run
from lightning_modules.datamodule import TextDataModule
from lightning_modules.network import build_tokenizer
from lightning_modules.run import Run
from tests.training import tiny_run


@pytest.fixture
def make_data(learnable: Path) -> Callable[..., TextDataModule]:
    return partial(data_of, learnable)


def data_of(learnable: Path, *words: str, start: int = 0) -> TextDataModule:
    run: Run = tiny_run(learnable, *words)
    checked = check_run(run)
    tokenizer = build_tokenizer(run, (), Cache())
    return TextDataModule(run, checked.corpus.splits, checked.labels, tokenizer, start)


def batches_of(data: TextDataModule) -> list[Any]:
    """Return the batches of all steps; none of the runs here has steps that share a span."""
    return [batch for (batch,) in data.train_dataloader()]


def test_a_run_sees_every_training_row_once_per_epoch(
    make_data: Callable[..., TextDataModule], learnable: Path
) -> None:
    data = make_data("data.batch_size=30", "trainer.epochs=3")
    assert data.num_train == 112
    assert (data.length.num_steps, data.length.steps_per_epoch) == (12, 4)
    batches = batches_of(data)
    assert [len(batch["labels"]) for batch in batches].count(22) == 3  # one per epoch
    tokenizer = data.validation.tokenizer
    rows = tiny_run(learnable).data.load(tiny_run(learnable).task).splits["train"]
    expected = Counter(tuple(tokenizer(row["text"])["input_ids"]) for row in rows)
    for epoch in range(3):
        seen = Counter(
            tuple(ids[ids != tokenizer.pad_token_id].tolist())
            for batch in batches[4 * epoch : 4 * epoch + 4]
            for ids in batch["input_ids"]
        )
        assert seen == expected
    assert not torch.equal(batches[0]["input_ids"], batches[4]["input_ids"])


def test_max_steps_ends_a_run_within_an_epoch(make_data: Callable[..., TextDataModule]) -> None:
    data = make_data("trainer.epochs=3", "trainer.max_steps=9")
    assert (data.length.num_steps, data.length.steps_per_epoch) == (9, 7)
    assert len(batches_of(data)) == len(data.train_dataloader()) == 9
    assert make_data("trainer.epochs=1", "trainer.max_steps=9").length.num_steps == 7


@pytest.mark.parametrize("start", [1, 6, 7, 10])
def test_a_resumed_run_gets_the_batches_that_it_has_not_seen(
    make_data: Callable[..., TextDataModule], start: int
) -> None:
    whole, rest = batches_of(make_data()), batches_of(make_data(start=start))
    assert len(rest) == len(whole) - start
    for expected, actual in zip(whole[start:], rest, strict=True):
        assert_same(expected, actual)


def assert_same(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert expected.keys() == actual.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, actual[name]), name


def test_validation_covers_every_row_once(make_data: Callable[..., TextDataModule]) -> None:
    data = make_data()
    numbers = [number for batch in data.validation_batches for number in batch]
    assert sorted(numbers) == list(range(24))
    labels = torch.cat([batch["labels"] for (batch,) in data.val_dataloader()])
    names = [data.validation.labels[label] for label in labels.tolist()]
    assert names == [data.validation.rows[number]["label"] for number in numbers]


def test_a_strategy_that_does_not_train_has_no_training_batches(
    make_data: Callable[..., TextDataModule],
) -> None:
    data = make_data("strategy=prompting", "model=minilm")
    assert data.num_train == data.length.num_steps == 0
    assert len(data.validation_batches) > 0


def test_batches_for_a_gpu_are_in_pinned_memory(make_data: Callable[..., TextDataModule]) -> None:
    data = make_data()
    assert not data.train_dataloader().loader.pin_memory
    for kind, is_pinned in (("cpu", False), ("cuda", True)):
        place: Any = SimpleNamespace(root_device=torch.device(kind))
        data.trainer = cast(Any, SimpleNamespace(strategy=place))
        assert data.train_dataloader().loader.pin_memory is is_pinned
        assert data.val_dataloader().loader.pin_memory is is_pinned


@pytest.mark.parametrize(("devices", "num_spans"), [(1, 7), (2, 21)])
def test_steps_on_features_share_a_span_unless_ranks_share_them(
    make_data: Callable[..., TextDataModule], devices: int, num_spans: int
) -> None:
    data = make_data("trainer.epochs=3", f"trainer.devices={devices}")
    data.use_features(lambda rows: Features(torch.zeros(len(rows), 4)), per_token=False)
    assert data.length.num_steps == 21
    assert len(data.train_dataloader()) == num_spans


def test_a_data_worker_ends_by_a_signal_of_its_process_alone(
    make_data: Callable[..., TextDataModule],
) -> None:
    def started() -> tuple[Iterator[Any], Any]:
        """Return batches, and the worker that makes them."""
        before = multiprocessing.active_children()
        batches = iter(make_data("trainer.num_data_workers=1").train_dataloader())
        next(batches)
        (worker,) = [each for each in multiprocessing.active_children() if each not in before]
        return batches, worker

    batches, worker = started()
    for name in ("INT", "TERM", "USR1", "USR2", "TERM"):  # as a scheduler sends them
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert len(list(batches)) == 13
    _, worker = started()
    worker.terminate()  # as Python does at its end, which then waits
    worker.join(10)
    assert worker.exitcode == 0


def test_rows_that_texts_are_written_for_are_validated_together(
    make_data: Callable[..., TextDataModule],
) -> None:
    words = ("task=generation", "model.kind=decoder", "task.packing=none")
    first, *others = make_data(*words, "task.num_generated=5").validation_batches
    assert sorted(first) == [0, 1, 2, 3, 4] and others
    assert len(make_data(*words, "task.num_generated=0").validation_batches) == 1
