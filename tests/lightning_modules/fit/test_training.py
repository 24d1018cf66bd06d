"""One training gives the same result each time, also when interrupted and resumed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_observed
from lightning_modules.error import ConfigError
from lightning_modules.export.predictor import load_trained
from lightning_modules.folder import BEST_FILE
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.rows.corpus import Row
from lightning_modules.run import Run
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.constant import Constant
from lightning_modules.strategy.base import Strategy
from tests.cut import StopAt
from tests.training import Listener, PruneAt, tiny_run, train


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / BEST_FILE)


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def assert_bit_equal(one: Path, other: Path) -> None:
    for load in (weights, load_observed):
        first, second = load(one), load(other)
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            assert torch.equal(tensor, second[name]), name
    for name in ("mistakes", "confusion"):
        assert table(one, name) == table(other, name)


def test_a_run_learns_and_writes_its_files(make_run: Callable[..., Run], here: Path) -> None:
    outcome = train(make_run("trainer.epochs=8"), here / "run")
    assert outcome.ending is Ending.finished
    assert outcome.best is not None and outcome.best.metrics["accuracy"] == 1.0
    assert [point.epoch for point in outcome.points][:3] == [0.5, 1.0, 1.5]
    assert outcome.points[-1].train_loss < outcome.points[0].train_loss
    written = {path.name for path in (here / "run").iterdir()}
    files = {"best.safetensors", "observed.safetensors", "labels.json", "outcome.json"}
    assert written == files | {"mistakes.jsonl", "confusion.jsonl"}
    assert json.loads((here / "run/labels.json").read_text()) == ["negative", "positive"]
    stored = json.loads((here / "run/outcome.json").read_text())
    assert stored["ending"] == "finished"
    assert stored["num_threads"] == outcome.num_threads == torch.get_num_threads()


def test_all_files_and_their_names_are_on_the_disk_at_the_end(
    make_run: Callable[..., Run], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, folder, sync = list[int](), here / "run", os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    train(make_run("trainer.epochs=1"), folder)
    assert {path.stat().st_ino for path in folder.iterdir()} <= set(synced)
    assert synced[-1] == folder.stat().st_ino
    assert synced.count(synced[-1]) == 1  # one wait for all names: a run may be short


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    make_run: Callable[..., Run], here: Path
) -> None:
    one = train(make_run(), here / "one")
    torch.rand(7)  # earlier draws of the process must not matter
    two = train(make_run(), here / "two")
    other = train(make_run("seed=1"), here / "other")
    assert_bit_equal(here / "one", here / "two")
    assert [p.train_loss for p in one.points] == [p.train_loss for p in two.points]
    assert [p.train_loss for p in one.points] != [p.train_loss for p in other.points]


def test_training_does_not_change_the_random_state_of_the_process(
    make_run: Callable[..., Run], here: Path
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(make_run("trainer.epochs=1"), here / "run")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_interrupted_at_any_step_resumes_bit_equal(
    make_run: Callable[..., Run], here: Path, workers: int
) -> None:
    run = make_run("trainer.epochs=4", f"trainer.num_data_workers={workers}")
    whole = train(run, here / "whole")
    last_step = whole.points[-1].step
    rng = random.Random(20261120)
    num_stops = 10 if workers == 0 else 2
    for stop in rng.sample(range(1, last_step), num_stops):
        folder = here / f"stopped-{stop}"
        first = train(run, folder, StopAt(stop))
        assert first.ending is Ending.interrupted
        assert first.reason == f"interrupted after step {stop}"
        assert not list(folder.glob("*.jsonl"))  # only a run that has ended is reviewed
        resumed = train(run, folder)
        assert resumed.ending is Ending.finished
        assert_bit_equal(here / "whole", folder)
        for one, other in zip(whole.points, resumed.points, strict=True):
            assert (one.step, one.train_loss, one.metrics) == (
                other.step,
                other.train_loss,
                other.metrics,
            )


@pytest.mark.thorough
def test_a_resumed_run_draws_the_same_dropout(make_run: Callable[..., Run], here: Path) -> None:
    # Full fine-tuning keeps the network's dropout of 0.1; LoRA adds its own.
    run = make_run("strategy=lora", "strategy.dropout=0.3", "strategy.lr=1e-2")
    train(run, here / "whole")
    train(run, here / "cut", StopAt(5))
    train(run, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
def test_a_run_interrupted_many_times_ends_bit_equal(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("trainer.epochs=2")
    train(run, here / "whole")
    endings = []
    while not endings or endings[-1] is Ending.interrupted:
        endings.append(train(run, here / "cut", StopAt(3)).ending)
    assert len(endings) > 3
    assert_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
def test_micro_batches_change_only_rounding_without_dropout(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("strategy=lora", "strategy.lr=1e-2", "trainer.epochs=1")
    whole = train(make_run(*words), here / "whole")
    cut = train(make_run(*words, "trainer.micro_batch_size=3"), here / "cut")
    for one, other in zip(whole.points, cut.points, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
    for name, tensor in weights(here / "whole").items():
        torch.testing.assert_close(tensor, weights(here / "cut")[name], atol=2e-4, rtol=1e-3)


def test_a_pruned_run_ends_with_the_reason(make_run: Callable[..., Run], here: Path) -> None:
    outcome = train(make_run(), here / "run", PruneAt(2))
    assert (outcome.ending, outcome.reason) == (Ending.pruned, "not good enough")
    assert len(outcome.points) == 2
    assert_tables_match(here / "run", outcome)


def assert_tables_match(folder: Path, outcome: Outcome) -> None:
    """Assert that the tables in `folder` match the outcome's best validation."""
    assert outcome.best is not None
    confusion = table(folder, "confusion")
    right = sum(each[f"predicted {each['label']}"] for each in confusion)
    num_rows = sum(each[f"predicted {other['label']}"] for each in confusion for other in confusion)
    assert right / num_rows == pytest.approx(outcome.best.metrics["accuracy"], abs=1e-6)
    assert len(table(folder, "mistakes")) == num_rows - right


@dataclass(frozen=True, kw_only=True)
class Cliff(Constant):
    """From epoch 2 on, a learning rate with which every run diverges."""

    def factor(self, step: int, length: Length) -> float:
        return 1.0 if step < 2 * length.steps_per_epoch else 1e30


@pytest.fixture
def diverging(make_run: Callable[..., Run]) -> Run:
    run = make_run("trainer.max_grad_norm=null", "trainer.epochs=4")
    return replace(run, schedule=Cliff(warmup_epochs=0))


def test_a_run_that_diverges_keeps_its_best_validation(diverging: Run, here: Path) -> None:
    outcome = train(diverging, here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.best is not None and outcome.best.epoch <= 2
    assert_tables_match(here / "run", outcome)


@dataclass(frozen=True, kw_only=True)
class Prompted(Strategy):
    """Puts a prompt before each text that the model reads."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any) -> Sequence[Row]:
        return [{**row, "text": f"In a review: {row['text']}"} for row in rows]


def test_mistakes_show_the_rows_of_the_corpus(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("strategy.lr=1e-9", "trainer.epochs=1")  # it only guesses, half of it wrong
    values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
    run = replace(run, strategy=Prompted(**values))
    outcome = train(run, here / "run")
    mistakes = table(here / "run", "mistakes")
    assert mistakes
    rows = run.data.load(run.task).splits["validation"]
    for mistake in mistakes:
        assert {"text": mistake["text"], "label": mistake["label"]} in rows
        assert mistake["prediction"] != mistake["label"]
        assert mistake["probability"] >= mistake["label_probability"]
    confidence = [mistake["probability"] for mistake in mistakes]
    assert confidence == sorted(confidence, reverse=True)
    assert_tables_match(here / "run", outcome)


def test_observations_are_in_the_order_of_the_rows(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("trainer.epochs=2")
    train(run, here / "run")
    rows = run.data.load(run.task).splits["validation"]
    observed = load_observed(here / "run")
    labels = ["negative", "positive"]
    true = [labels[number] for number in observed["labels_B"].tolist()]
    assert true == [row["label"] for row in rows]
    predictions = load_trained(run, here / "run", labels).predict(rows)
    probabilities = observed["logits_BC"].softmax(dim=1)[:, 1].tolist()
    assert probabilities == pytest.approx([p["scores"]["positive"] for p in predictions], abs=1e-5)


@pytest.mark.thorough
def test_a_resumed_run_restores_the_best_validation_of_its_checkpoint(
    diverging: Run, here: Path
) -> None:
    train(diverging, here / "whole")
    train(diverging, here / "cut", StopAt(15))  # nothing improves after step 14
    for name in ("observed.safetensors", "best.safetensors"):
        (here / "cut" / name).write_bytes(b"left by a killed attempt")
    train(diverging, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


def test_a_run_without_a_checkpoint_starts_without_a_best_validation(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("trainer.epochs=1")
    train(run, here / "whole")
    (here / "cut").mkdir()
    for name in ("observed.safetensors", "best.safetensors"):
        (here / "cut" / name).write_bytes(b"left by a killed attempt")
    assert train(run, here / "cut", StopAt(1)).best is None  # saves a checkpoint
    assert not (here / "cut" / "best.safetensors").exists()
    train(run, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


def test_every_step_is_reported_once(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("trainer.epochs=2")
    first, second = Listener(stop=5), Listener()
    train(run, here / "run", first)
    outcome = train(run, here / "run", second)
    last = outcome.points[-1].step
    assert first.steps == [(step, last) for step in range(1, 6)]
    assert second.steps == [(step, last) for step in range(6, last + 1)]


def test_the_best_weights_are_kept_not_the_last(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("task.metric=log_loss", "trainer.epochs=12", "optimizer.lr=2e-2")
    outcome = train(run, here / "run")
    assert outcome.best is not None
    losses = [point.metrics["log_loss"] for point in outcome.points]
    assert outcome.best.metrics["log_loss"] == min(losses)
    predictor = load_trained(run, here / "run", ["negative", "positive"])
    scores = predictor.score(run.data.load(run.task).splits["validation"])
    assert scores == dict(outcome.best.metrics)


def test_every_phase_is_reported_before_it_starts(make_run: Callable[..., Run], here: Path) -> None:
    hooks = Listener()
    words = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "data.max_length=31")
    words += ("trainer.checkpoint_seconds=1e-9", "trainer.checkpoint_share=null")
    outcome = train(make_run(*words), here / "run", hooks)
    last = outcome.points[-1].step
    assert [phase for phase in hooks.phases if phase.startswith("training")] == [
        f"training, step {step} of {last}" for step in range(1, last + 1)
    ]
    others = list(
        dict.fromkeys(phase for phase in hooks.phases if not phase.startswith("training"))
    )
    assert others == [
        "loading the data",
        "making the tokenizer",
        "tokenizing, row 0 of 112",
        "writing the tokenized rows",
        "tokenizing, row 0 of 24",
        "loading the model",
        "opening the log",
        "starting to train",
        *(f"saving a checkpoint after step {step}" for step in range(last)),
        f"validating after step {last}",
        "reviewing the best validation",
        "computing the noise of the best validation",
        "closing the log",
    ]
    assert hooks.warnings == []
    assert outcome.memory_bytes > 50e6


def test_a_run_on_cached_rows_is_still_checked(make_run: Callable[..., Run], here: Path) -> None:
    cache, words = Cache(), ("trainer.max_steps=1", "data.max_length=512")
    train(make_run(*words), here / "fits", cache=cache)
    with pytest.raises(ConfigError, match=r"data\.max_length: must be <= \d+, the most tokens"):
        train(make_run(*words, "strategy=prompt_tuning"), here / "too long", cache=cache)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trained_network_loaded_again_has_the_same_scores(
    make_run: Callable[..., Run], here: Path, precision: str
) -> None:
    run = make_run("trainer.epochs=2", f"trainer.precision={precision}")
    outcome = train(run, here / "run")
    labels = json.loads((here / "run/labels.json").read_text())
    scores = load_trained(run, here / "run", labels).score(
        run.data.load(run.task).splits["validation"]
    )
    assert outcome.best is not None and scores == outcome.best.metrics


@pytest.mark.thorough
def test_class_weights_and_smoothing_do_not_depend_on_micro_batches_or_interruptions(
    make_run: Callable[..., Run], here: Path
) -> None:
    plain_words = ("strategy=lora", "strategy.lr=1e-2", "trainer.epochs=1")
    words = (*plain_words, "task.class_weights={positive: 5}", "task.label_smoothing=0.1")
    plain = train(make_run(*plain_words), here / "plain")
    whole = train(make_run(*words), here / "whole")
    cut = train(make_run(*words, "trainer.micro_batch_size=5"), here / "cut")
    assert whole.best is not None and cut.best is not None and plain.best is not None
    assert whole.best.validation_loss == pytest.approx(cut.best.validation_loss, rel=1e-5)
    assert whole.best.validation_loss != pytest.approx(plain.best.validation_loss, rel=1e-5)
    train(make_run(*words), here / "stopped", StopAt(3))
    train(make_run(*words), here / "stopped")
    assert_bit_equal(here / "whole", here / "stopped")
