"""One training: the same numbers every time, however it is cut, stopped or split."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_observed
from lightning_modules.error import ConfigError
from lightning_modules.fit import fit
from lightning_modules.folder import BEST_FILE
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome, Point
from lightning_modules.rows.corpus import Row
from lightning_modules.run import Run
from lightning_modules.schedule.base import Length
from lightning_modules.schedule.constant import Constant
from lightning_modules.strategy.base import Strategy
from lightning_modules.task.classification import Classification
from search.config import build_run, compose
from tests.cut import StopAt

# In fp32: what is near equal in it, and what is scored again in it, is not in bf16.
TINY = (
    "model=tiny",
    "strategy=full",
    "strategy.lr=3e-3",
    "logger=none",
    "data.batch_size=16",
    "trainer.precision=fp32",
)


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    def make(*words: str) -> Run:
        data = ("data=files", f"data.train={learnable}")
        return build_run(compose("train", [*TINY, *data, *words]).tree)

    return make


def train(
    run: Run, folder: Path, hooks: Hooks | None = None, cache: Cache | None = None
) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    return fit(run, folder, Identity("test", None, folder), hooks, cache)


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


class PruneAt(Hooks):
    def __init__(self, number: int) -> None:
        self.number = number

    def on_validation(self, point: Point) -> str | None:
        return "not good enough" if point.number == self.number else None


def test_learns_and_writes_what_it_promises(make_run: Callable[..., Run], here: Path) -> None:
    outcome = train(make_run("trainer.epochs=8"), here / "run")
    assert outcome.ending is Ending.finished
    assert outcome.best is not None and outcome.best.metrics["accuracy"] == 1.0
    assert [point.epoch for point in outcome.points][:3] == [0.5, 1.0, 1.5]
    assert outcome.points[-1].train_loss < outcome.points[0].train_loss
    written = {path.name for path in (here / "run").iterdir()}
    kept = {"best.safetensors", "observed.safetensors", "labels.json", "outcome.json"}
    assert written == kept | {"mistakes.jsonl", "confusion.jsonl"}
    assert json.loads((here / "run/labels.json").read_text()) == ["negative", "positive"]
    told = json.loads((here / "run/outcome.json").read_text())
    assert told["ending"] == "finished"
    assert told["num_threads"] == outcome.num_threads == torch.get_num_threads()


@pytest.mark.thorough
def test_same_seed_same_bits_and_another_seed_others(
    make_run: Callable[..., Run], here: Path
) -> None:
    one = train(make_run(), here / "one")
    torch.rand(7)  # what the process drew before must not matter
    two = train(make_run(), here / "two")
    other = train(make_run("seed=1"), here / "other")
    assert_bit_equal(here / "one", here / "two")
    assert [p.train_loss for p in one.points] == [p.train_loss for p in two.points]
    assert [p.train_loss for p in one.points] != [p.train_loss for p in other.points]


def test_training_leaves_the_process_random_state_alone(
    make_run: Callable[..., Run], here: Path
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(make_run("trainer.epochs=1"), here / "run")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_anywhere_and_resumed_it_ends_bit_equal(
    make_run: Callable[..., Run], here: Path, workers: int
) -> None:
    run = make_run("trainer.epochs=4", f"trainer.num_data_workers={workers}")
    whole = train(run, here / "whole")
    last_step = whole.points[-1].step
    chance = random.Random(20261120)
    num_stops = 10 if workers == 0 else 2
    for stop in chance.sample(range(1, last_step), num_stops):
        folder = here / f"stopped-{stop}"
        first = train(run, folder, StopAt(stop))
        assert first.ending is Ending.interrupted
        assert first.reason == f"interrupted after step {stop}"
        assert not list(folder.glob("*.jsonl"))  # it goes on, so there is nothing to review yet
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
def test_dropout_is_resumed_too(make_run: Callable[..., Run], here: Path) -> None:
    # Full fine-tuning keeps the network's dropout of 0.1; LoRA has its own.
    run = make_run("strategy=lora", "strategy.dropout=0.3", "strategy.lr=1e-2")
    train(run, here / "whole")
    train(run, here / "cut", StopAt(5))
    train(run, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


@pytest.mark.thorough
def test_stopped_many_times_it_still_ends_the_same(
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
def test_micro_batches_change_nothing_without_dropout(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("strategy=lora", "strategy.lr=1e-2", "trainer.epochs=1")
    whole = train(make_run(*words), here / "whole")
    cut = train(make_run(*words, "trainer.micro_batch_size=3"), here / "cut")
    for one, other in zip(whole.points, cut.points, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
    for name, tensor in weights(here / "whole").items():
        torch.testing.assert_close(tensor, weights(here / "cut")[name], atol=2e-4, rtol=1e-3)


def test_pruning_ends_it_with_the_reason(make_run: Callable[..., Run], here: Path) -> None:
    outcome = train(make_run(), here / "run", PruneAt(2))
    assert (outcome.ending, outcome.reason) == (Ending.pruned, "not good enough")
    assert len(outcome.points) == 2
    assert_tells(here / "run", outcome)


def assert_tells(folder: Path, outcome: Outcome) -> None:
    """Assert that the tables in `folder` are those of the outcome's best validation."""
    assert outcome.best is not None
    confusion = table(folder, "confusion")
    right = sum(each[f"predicted {each['label']}"] for each in confusion)
    num_rows = sum(each[f"predicted {other['label']}"] for each in confusion for other in confusion)
    assert right / num_rows == pytest.approx(outcome.best.metrics["accuracy"], abs=1e-6)
    assert len(table(folder, "mistakes")) == num_rows - right


@dataclass(frozen=True, kw_only=True)
class Cliff(Constant):
    """A rate that no weights survive, from epoch 2 on."""

    def factor(self, step: int, length: Length) -> float:
        return 1.0 if step < 2 * length.steps_per_epoch else 1e30


@pytest.fixture
def diverging(make_run: Callable[..., Run]) -> Run:
    run = make_run("trainer.max_grad_norm=null", "trainer.epochs=4")
    return replace(run, schedule=Cliff(warmup_epochs=0))


def test_diverging_after_a_best_leaves_the_best(diverging: Run, here: Path) -> None:
    outcome = train(diverging, here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.best is not None and outcome.best.epoch <= 2
    assert_tells(here / "run", outcome)


@dataclass(frozen=True, kw_only=True)
class Prompted(Strategy):
    """The model reads more than the corpus has."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any) -> Sequence[Row]:
        return [{**row, "text": f"In a review: {row['text']}"} for row in rows]


def test_mistakes_are_shown_as_the_corpus_has_them(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("strategy.lr=1e-9", "trainer.epochs=1")  # guesses, and half of them wrong
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
    assert_tells(here / "run", outcome)


def test_what_was_observed_is_in_the_order_of_the_rows(
    make_run: Callable[..., Run], here: Path
) -> None:
    from lightning_modules.export.predictor import load_trained

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
def test_the_best_of_the_checkpoint_takes_the_place_of_a_later_one(
    diverging: Run, here: Path
) -> None:
    train(diverging, here / "whole")
    train(diverging, here / "cut", StopAt(15))  # nothing gets better after step 14
    for name in ("observed.safetensors", "best.safetensors"):
        (here / "cut" / name).write_bytes(b"what a killed attempt left")
    train(diverging, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


def test_a_run_without_a_checkpoint_begins_without_a_best(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = make_run("trainer.epochs=1")
    train(run, here / "whole")
    (here / "cut").mkdir()
    for name in ("observed.safetensors", "best.safetensors"):
        (here / "cut" / name).write_bytes(b"what a killed attempt left")
    assert train(run, here / "cut", StopAt(1)).best is None  # saves a checkpoint
    assert not (here / "cut" / "best.safetensors").exists()
    train(run, here / "cut")
    assert_bit_equal(here / "whole", here / "cut")


class Listener(Hooks):
    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.steps: list[tuple[int, int]] = []

    def on_step(self, step: int, num_steps: int) -> None:
        self.steps.append((step, num_steps))

    def interrupted(self) -> bool:
        return len(self.steps) == self.stop


def test_every_step_is_told_once(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("trainer.epochs=2")
    first, second = Listener(stop=5), Listener()
    train(run, here / "run", first)
    outcome = train(run, here / "run", second)
    last = outcome.points[-1].step
    assert first.steps == [(step, last) for step in range(1, 6)]
    assert second.steps == [(step, last) for step in range(6, last + 1)]


def test_a_loss_that_is_no_number_ends_it(make_run: Callable[..., Run], here: Path) -> None:
    words = ("optimizer.lr=1e30", "trainer.max_grad_norm=null", "trainer.epochs=20")
    outcome = train(make_run(*words), here / "run")
    assert outcome.ending is Ending.diverged
    assert "loss became" in outcome.reason
    assert outcome.best is None and not outcome.points
    assert not (here / "run" / BEST_FILE).exists()


@dataclass(frozen=True, kw_only=True)
class Breaks(Strategy):
    """After so many optimizer steps the network gets gradients or outputs that are no numbers."""

    what: str
    value: float
    after: int = 0

    def adapt(self, network: Any) -> Any:
        parameter = next(network.parameters())
        num_steps = 0

        def of_gradient(gradient: torch.Tensor) -> torch.Tensor:
            nonlocal num_steps
            num_steps += 1
            return gradient * self.value if num_steps > self.after else gradient

        def of_output(module: Any, arguments: Any, output: Any) -> None:
            if not module.training:
                output.logits[0, 0] = self.value

        if self.what == "gradient":
            parameter.register_hook(of_gradient)
        else:
            network.register_forward_hook(of_output)
        return network


def broken(run: Run, what: str, value: float, after: int = 0) -> Run:
    values = {f.name: getattr(run.strategy, f.name) for f in fields(Strategy)}
    return replace(run, strategy=Breaks(**values, what=what, value=value, after=after))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 3])
def test_gradients_that_are_no_numbers_end_it_within_a_logging_interval(
    make_run: Callable[..., Run], here: Path, value: float, every: int
) -> None:
    words = (f"trainer.log_every_steps={every}", "trainer.validations_per_epoch=1")
    hooks = Listener()
    outcome = train(broken(make_run(*words), "gradient", value, after=1), here / "run", hooks)
    assert outcome.ending is Ending.diverged
    # Step 2 spoils the weights, step 3 shows it.
    assert hooks.steps == [] or hooks.steps[-1][0] <= 2 + every
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()


def test_weights_that_are_no_numbers_are_never_a_checkpoint(
    make_run: Callable[..., Run], here: Path
) -> None:
    run = broken(make_run(), "gradient", math.nan)
    outcome = train(run, here / "run", StopAt(1))  # the loss so far was sound
    assert outcome.ending is Ending.diverged
    assert "became NaN or infinite by step 1" in outcome.reason
    assert not (here / "run/checkpoint.pt").exists()


def test_a_run_whose_last_step_spoils_the_weights_has_not_finished(
    make_run: Callable[..., Run], here: Path
) -> None:
    words = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "trainer.log_every_steps=100")
    outcome = train(broken(make_run(*words), "gradient", math.nan, after=6), here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.reason == "the validation loss became nan at step 7"
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_of_the_validation_alone_that_are_no_numbers_end_it(
    make_run: Callable[..., Run], here: Path, value: float
) -> None:
    outcome = train(broken(make_run(), "output", value), here / "run")
    assert outcome.ending is Ending.diverged
    assert "the validation loss became" in outcome.reason
    assert outcome.best is None and not (here / "run" / BEST_FILE).exists()


@dataclass(frozen=True, kw_only=True)
class NoScore(Classification):
    """Its metric is no number in validation 2, whatever the loss."""

    def score(self, *arguments: Any) -> dict[str, float]:
        scores = super().score(*arguments)
        return scores if scores["log_loss"] > 0.6 else {**scores, "mcc": math.nan}


def test_a_metric_alone_that_is_no_number_ends_it(make_run: Callable[..., Run], here: Path) -> None:
    run = make_run("trainer.epochs=8")
    outcome = train(replace(run, task=NoScore(**vars(run.task))), here / "run")
    assert outcome.ending is Ending.diverged
    assert outcome.reason.startswith("the mcc became nan at step ")
    assert outcome.best is not None and outcome.best.metrics["log_loss"] > 0.6
    assert all(math.isfinite(point.metrics["mcc"]) for point in outcome.points)


def test_patience_ends_it_early(make_run: Callable[..., Run], here: Path) -> None:
    outcome = train(make_run("trainer.epochs=30", "trainer.patience=2"), here / "run")
    assert outcome.ending is Ending.finished
    assert "no better accuracy in 2 validations" in outcome.reason
    accuracies = [point.metrics["accuracy"] for point in outcome.points]
    last_gain = accuracies.index(max(accuracies)) + 1
    assert outcome.points[-1].number == last_gain + 2
    # Of those with the best accuracy, the weights of the lowest loss are kept.
    assert outcome.best is not None and outcome.best.metrics["accuracy"] == max(accuracies)
    ties = [p for p in outcome.points if p.metrics["accuracy"] == max(accuracies)]
    assert outcome.best.validation_loss == min(point.validation_loss for point in ties)


def test_the_best_checkpoint_is_kept_not_the_last(make_run: Callable[..., Run], here: Path) -> None:
    from lightning_modules.export.predictor import load_trained

    run = make_run("task.metric=log_loss", "trainer.epochs=12", "optimizer.lr=2e-2")
    outcome = train(run, here / "run")
    assert outcome.best is not None
    losses = [point.metrics["log_loss"] for point in outcome.points]
    assert outcome.best.metrics["log_loss"] == min(losses)
    predictor = load_trained(run, here / "run", ["negative", "positive"])
    scores = predictor.score(run.data.load(run.task).splits["validation"])
    assert scores == dict(outcome.best.metrics)


def test_fewer_steps_than_validations(make_run: Callable[..., Run], here: Path) -> None:
    words = ("data.batch_size=64", "trainer.validations_per_epoch=8", "trainer.epochs=2")
    outcome = train(make_run(*words), here / "run")
    steps = [point.step for point in outcome.points]
    assert steps == sorted(set(steps))
    assert outcome.points[-1].epoch == 2.0


def test_run_lists_its_values_flat(make_run: Callable[..., Run]) -> None:
    flat = make_run().flat()
    assert flat["strategy"] == "full"
    assert flat["optimizer.lr"] == 3e-3
    assert flat["trainer.precision"] == "fp32"
    assert all(not isinstance(value, dict) for value in flat.values())


def test_a_broken_checkpoint_never_runs_code(make_run: Callable[..., Run], here: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (here / "exploded",))

    folder = here / "run"
    folder.mkdir()
    torch.save({"record": Bomb()}, folder / "bomb")
    content = (folder / "bomb").read_bytes()
    (folder / "checkpoint.pt").write_bytes(content + hashlib.sha256(content).digest())
    hooks = Told()
    assert train(make_run("trainer.epochs=1"), folder, hooks).ending is Ending.finished
    assert not (here / "exploded").exists()
    assert hooks.notes == [
        "checkpoint.pt is broken (it holds more than tensors and plain values), "
        "checkpoint.previous.pt is missing: the run begins anew"
    ]


class Told(Hooks):
    def __init__(self) -> None:
        self.doings: list[str] = []
        self.notes: list[str] = []

    def heartbeat(self, doing: str) -> None:
        self.doings.append(doing)

    def warn(self, text: str) -> None:
        self.notes.append(text)


def test_everything_that_may_take_long_is_announced(
    make_run: Callable[..., Run], here: Path
) -> None:
    hooks = Told()
    words = ("trainer.epochs=1", "trainer.validations_per_epoch=1", "data.max_length=31")
    outcome = train(make_run(*words, "trainer.checkpoint_seconds=1e-9"), here / "run", hooks)
    last = outcome.points[-1].step
    assert [doing for doing in hooks.doings if doing.startswith("training")] == [
        f"training, step {step} of {last}" for step in range(1, last + 1)
    ]
    said = list(dict.fromkeys(doing for doing in hooks.doings if not doing.startswith("training")))
    assert said == [
        "loading the data",
        "making the tokenizer",
        "tokenizing, row 0 of 112",
        "keeping the tokenized rows",
        "tokenizing, row 0 of 24",
        "loading the model",
        "opening the log",
        "beginning to train",
        *(f"saving a checkpoint after step {step}" for step in range(last)),
        f"validating after step {last}",
        "examining the best validation",
        "closing the log",
    ]
    assert hooks.notes == []
    assert outcome.memory_bytes > 50e6


def test_every_broken_rule_is_named_at_once(make_run: Callable[..., Run]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_run("trainer.epochs=0", "data.batch_size=-1", "optimizer.lr=0")
    places = {problem.where for problem in caught.value.problems}
    assert places == {"trainer.epochs", "data.batch_size", "optimizer.lr"}


def test_rows_that_are_warm_spare_a_run_no_check(make_run: Callable[..., Run], here: Path) -> None:
    cache, words = Cache(), ("trainer.max_steps=1", "data.max_length=512")
    train(make_run(*words), here / "fits", cache=cache)
    with pytest.raises(ConfigError, match=r"data\.max_length: must be <= \d+, the tokens"):
        train(make_run(*words, "strategy=prompt_tuning"), here / "too long", cache=cache)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trained_network_scores_again_what_its_training_told(
    make_run: Callable[..., Run], here: Path, precision: str
) -> None:
    from lightning_modules.export.predictor import load_trained

    run = make_run("trainer.epochs=2", f"trainer.precision={precision}")
    outcome = train(run, here / "run")
    labels = json.loads((here / "run/labels.json").read_text())
    scores = load_trained(run, here / "run", labels).score(
        run.data.load(run.task).splits["validation"]
    )
    assert outcome.best is not None and scores == outcome.best.metrics


@pytest.mark.thorough
def test_weights_and_smoothing_are_the_same_however_a_run_is_cut(
    make_run: Callable[..., Run], here: Path
) -> None:
    still = ("strategy=lora", "strategy.lr=1e-2", "trainer.epochs=1")
    words = (*still, "task.class_weights={positive: 5}", "task.label_smoothing=0.1")
    plain = train(make_run(*still), here / "plain")
    whole = train(make_run(*words), here / "whole")
    cut = train(make_run(*words, "trainer.micro_batch_size=5"), here / "cut")
    assert whole.best is not None and cut.best is not None and plain.best is not None
    assert whole.best.validation_loss == pytest.approx(cut.best.validation_loss, rel=1e-5)
    assert whole.best.validation_loss != pytest.approx(plain.best.validation_loss, rel=1e-5)
    train(make_run(*words), here / "stopped", StopAt(3))
    train(make_run(*words), here / "stopped")
    assert_bit_equal(here / "whole", here / "stopped")
