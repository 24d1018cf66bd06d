"""Runs that train together, against the same runs alone: weights, scores, endings, checkpoints."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_best
from lightning_modules.fit.pack.network import PackedNetwork
from lightning_modules.fit.pack.pack import Member, fit_pack
from lightning_modules.hooks import Hooks
from lightning_modules.logger.base import Identity
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run, pack_key
from tests.training import Listener, PruneAt, tiny_run, train

LORA = ("strategy=lora", "strategy.lr=1e-2", "trainer.checkpoint_seconds=1000")
OWN = (
    ("strategy.rank=4", "data.batch_size=32", "trainer.epochs=2"),
    ("strategy.rank=8", "data.batch_size=16", "trainer.epochs=1", "schedule=cosine"),
    ("optimizer.lr=3e-3", "optimizer.weight_decay=0.1", "strategy.dropout=0.2"),
)


@pytest.fixture
def runs(learnable: Path) -> list[Run]:
    return [tiny_run(learnable, *LORA, "trainer.epochs=2", *own) for own in OWN]


def train_together(
    runs: Sequence[Run],
    folder: Path,
    hooks: Sequence[Hooks] | None = None,
    num_slots: int = 9,
    **settings: Any,
) -> tuple[list[Any], list[str]]:
    """Return what became of each run, and what was said; the last ones wait for a slot."""
    results: dict[int, Outcome | BaseException] = {}
    members, said = [], []
    for number, run in enumerate(runs):
        own = folder / str(number)
        own.mkdir(parents=True, exist_ok=True)
        listener = hooks[number] if hooks else Hooks()

        def ended(result: Outcome | BaseException, number: int = number) -> None:
            results[number] = result

        members.append(Member(run, own, Identity("test", None, own), listener, ended))
    settings = {"must_pay": False, **settings}
    waiting = iter(members[num_slots:])
    first = members[:num_slots]
    fit_pack(first, Cache(), None, said.append, lambda: next(waiting, None), **settings)
    return [results[number] for number in range(len(runs))], said


def assert_alike(one: Path, other: Path) -> None:
    best, expected = load_best(one), load_best(other)
    assert best is not None and expected is not None
    torch.testing.assert_close(dict(best.weights), dict(expected.weights), atol=1e-5, rtol=1e-4)


def assert_same_outcome(got: Outcome, expected: Outcome) -> None:
    assert got.ending is expected.ending, got.reason
    assert [point.step for point in got.points] == [point.step for point in expected.points]
    losses = [point.validation_loss for point in expected.points]
    assert [point.validation_loss for point in got.points] == pytest.approx(losses, abs=1e-5)
    assert got.best is not None and expected.best is not None
    assert got.best.metrics == pytest.approx(expected.best.metrics, abs=1e-4)


@pytest.mark.thorough
def test_each_run_ends_as_alone(runs: list[Run], here: Path) -> None:
    assert len({pack_key(run) for run in runs}) == 1
    together, said = train_together(runs, here / "together")
    assert said == []  # so they shared all passes
    for number, run in enumerate(runs):
        alone = train(run, here / "alone" / str(number))
        assert_same_outcome(together[number], alone)
        assert_alike(here / "together" / str(number), here / "alone" / str(number))
    seconds = sum(outcome.seconds for outcome in together)
    assert 0 < seconds < 60 and all(outcome.tokens_per_second for outcome in together)


@pytest.mark.thorough
def test_a_run_that_is_pruned_diverges_or_is_interrupted_leaves_the_others_as_they_were(
    runs: list[Run], learnable: Path, here: Path
) -> None:
    diverging = tiny_run(
        learnable, *LORA, "optimizer.lr=1e30", "trainer.max_grad_norm=null", "trainer.epochs=20"
    )
    pack = [runs[0], runs[1], diverging, runs[2]]
    hooks = [Hooks(), PruneAt(1), Hooks(), Listener(stop=5)]
    results, said = train_together(pack, here / "together", hooks)
    endings = [Ending.finished, Ending.pruned, Ending.diverged, Ending.interrupted]
    assert [result.ending for result in results] == endings
    assert said == []
    assert_same_outcome(results[0], train(runs[0], here / "alone"))
    # The interrupted one continues alone, from the checkpoint of the pack.
    resumed = train(runs[2], here / "together" / "3")
    assert_same_outcome(resumed, train(runs[2], here / "whole"))
    assert_alike(here / "together" / "3", here / "whole")


@pytest.mark.thorough
def test_runs_continue_together_where_they_stopped(runs: list[Run], here: Path) -> None:
    stopped, _ = train_together(runs, here / "run", [Listener(stop=3) for _ in runs])
    assert all(outcome.ending is Ending.interrupted for outcome in stopped)
    resumed, _ = train_together(runs, here / "run")
    whole, _ = train_together(runs, here / "whole")
    for number, (one, other) in enumerate(zip(resumed, whole, strict=True)):
        assert_same_outcome(one, other)
        assert_alike(here / "run" / str(number), here / "whole" / str(number))


class Noted(Hooks):
    """Notes whose run begins and steps."""

    def __init__(self, number: int, begun: list[int], steps: list[int]) -> None:
        self.number = number
        self.begun = begun
        self.steps = steps

    def on_train_start(self, *arguments: Any) -> None:
        self.begun.append(self.number)

    def on_step(self, step: int, num_steps: int) -> None:
        self.steps.append(self.number)


@pytest.mark.thorough
def test_a_run_takes_the_slot_of_one_that_has_ended(runs: list[Run], here: Path) -> None:
    order = [runs[1], runs[0], runs[2], runs[1]]
    begun: list[int] = []
    steps: list[int] = []
    hooks = [Noted(number, begun, steps) for number in range(4)]
    together, said = train_together(order, here / "together", hooks, num_slots=2)
    assert said == [] and begun == [0, 1, 2, 3]
    # Each of the later ones has stepped together with one that began before.
    for number in (2, 3):
        others = steps[steps.index(number) :]
        assert any(each < number for each in others)
    for number, run in enumerate(order):
        alone = train(run, here / "alone" / str(number))
        assert_same_outcome(together[number], alone)
        assert_alike(here / "together" / str(number), here / "alone" / str(number))


@pytest.mark.thorough
def test_what_cannot_share_passes_trains_one_by_one(
    runs: list[Run], learnable: Path, here: Path
) -> None:
    other = tiny_run(learnable, *LORA, "trainer.epochs=1", "strategy.targets=query")
    pack = [runs[0], other]
    assert pack_key(runs[0]) != pack_key(other)
    results, said = train_together(pack, here / "together")
    assert said == ["2 trials train one by one: they adapt different layers"]
    assert_same_outcome(results[0], train(runs[0], here / "alone"))


@pytest.mark.thorough
def test_if_it_does_not_pay_is_measured_and_said(runs: list[Run], here: Path) -> None:
    results, said = train_together(runs[:2], here / "together", must_pay=True)
    assert all(result.ending is Ending.finished for result in results)
    (line,) = said
    assert line.startswith(("2 trials share their passes: ", "2 trials train one by one: their "))


@pytest.mark.thorough
def test_a_fault_of_a_shared_pass_is_logged_and_fails_no_run(
    runs: list[Run],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: object) -> None:
        raise IndexError("no such row\nand more")

    monkeypatch.setattr(PackedNetwork, "run", fails)
    results, said = train_together(runs[1:], here)
    assert said == ["2 trials train one by one: IndexError: no such row"]
    assert [result.ending for result in results] == [Ending.finished] * 2
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert record.getMessage() == "a shared pass of 2 trials failed"
    assert record.exc_info is not None and record.exc_info[0] is IndexError


class Broken(Hooks):
    """Raises an error at the first validation."""

    def on_validation(self, point: Any) -> str | None:
        raise ValueError("broken")


@pytest.mark.thorough
def test_an_error_ends_its_own_run_alone(runs: list[Run], here: Path) -> None:
    results, _ = train_together(runs[:2], here / "together", [Broken(), Hooks()])
    assert isinstance(results[0], ValueError)
    assert results[1].ending is Ending.finished


@pytest.mark.thorough
def test_what_the_caller_raises_about_a_result_is_raised_when_all_have_ended(
    runs: list[Run], here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[Outcome | BaseException] = []

    def refuse(result: Outcome | BaseException) -> None:
        ended.append(result)
        raise LookupError(f"result {len(ended)}")

    members = []
    for number, run in enumerate(runs[:2]):
        own = here / str(number)
        own.mkdir()
        members.append(Member(run, own, Identity("test", None, own), Hooks(), refuse))
    with pytest.raises(LookupError, match="result 1"):
        fit_pack(members, Cache(), next_member=lambda: members[0], must_pay=False)
    assert len(ended) == 2
    (other,) = (each.exc_info for each in caplog.records if each.levelname == "ERROR")
    assert other and str(other[1]) == "result 2"


@pytest.mark.thorough
@pytest.mark.parametrize("number", [0, 1])
def test_a_run_whose_thread_cannot_start_fails_alone(
    runs: list[Run], here: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if thread.name == f"slot {number}":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    results, _ = train_together(runs[:2], here)
    assert str(results[number]) == "can't start new thread"
    assert results[1 - number].ending is Ending.finished


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=full",),
        ("strategy=lora", "strategy.dora=true"),
        ("strategy=lora", "strategy.init=pissa"),
        ("strategy=lora", "trainer.compile=true"),
        ("strategy=lora", "trainer.precision=fp16"),
    ],
    ids=" ".join,
)
def test_what_shares_no_passes_has_no_key(words: tuple[str, ...], learnable: Path) -> None:
    assert pack_key(tiny_run(learnable, *words)) is None
