"""Steps that share a batch of Lightning's loop are the steps that they are without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_modules.batch.span import span_sizes
from lightning_modules.cache import Cache
from lightning_modules.callback.best import load_best
from lightning_modules.callback.checkpoint_file import read_checkpoint
from lightning_modules.check import load_rows
from lightning_modules.folder import CHECKPOINT_FILE
from lightning_modules.outcome import Ending, Outcome
from lightning_modules.run import Run
from tests.conftest import write_jsonl
from tests.training import Listener, tiny_run, train

FROZEN = ("strategy=feature_extraction", "strategy.lr=1e-2", "trainer.epochs=3")


@pytest.mark.parametrize("start", range(26))
def test_a_resumed_run_has_the_rest_of_the_spans(start: int) -> None:
    ends = {4, 12, 13, 25}

    def ends_of(first: int) -> set[int]:
        sizes = span_sizes(first, 25, 10, ends)
        return {first + sum(sizes[: place + 1]) for place in range(len(sizes))}

    assert ends_of(0) == {4, 10, 12, 13, 20, 25}
    assert ends_of(start) == {end for end in ends_of(0) if end > start}


def logging_every(run: Run, steps: int) -> Run:
    return replace(run, trainer=replace(run.trainer, log_every_steps=steps))


@pytest.fixture
def run(learnable: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    return tiny_run(learnable, *FROZEN)


def assert_equal(folder: Path, outcome: Outcome, expected_folder: Path, expected: Outcome) -> None:
    for name in ("step", "train_loss", "validation_loss", "metrics"):
        values = [getattr(point, name) for point in outcome.points]
        assert values == [getattr(point, name) for point in expected.points], name
    best, expected_best = load_best(folder), load_best(expected_folder)
    assert best is not None and expected_best is not None
    for name, tensor in expected_best.weights.items():
        assert tensor.equal(best.weights[name])


def test_a_head_is_bit_equal_with_and_without_spans(run: Run, here: Path) -> None:
    single = train(logging_every(run, 1), here / "single")
    listener = Listener()
    spans = train(logging_every(run, 100), here / "spans", listener)
    assert_equal(here / "spans", spans, here / "single", single)
    assert [step for step, _ in listener.steps] == list(range(1, 22))


@pytest.mark.parametrize(("stop", "end"), [(4, 4), (5, 6)])
def test_a_head_stops_at_the_end_of_a_span_and_resumes_bit_equal(
    run: Run, here: Path, stop: int, end: int
) -> None:
    run = logging_every(run, 3)
    whole = train(run, here / "whole")
    assert train(run, here / "run", Listener(stop=stop)).ending is Ending.interrupted
    assert read_checkpoint(here / "run" / CHECKPOINT_FILE).record.step == end
    assert_equal(here / "run", train(run, here / "run"), here / "whole", whole)


def test_a_validation_of_several_batches_scores_every_row_in_order(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESWEEP_CACHE", str(here / "cache"))
    texts = [f"{'red' if n % 2 else 'blue'} " * (1 + n % 5) + f"{n}" for n in range(700)]
    rows = [{"text": text, "label": text[:3]} for text in texts]
    run = tiny_run(write_jsonl(here / "rows.jsonl", rows), *FROZEN[:2], "trainer.epochs=1")
    assert len(load_rows(run, Cache()).corpus.splits["validation"]) > 64  # rows of a batch
    spans = train(run, here / "spans")
    settings = replace(run.trainer, cache_features=False)
    single = train(replace(run, trainer=settings), here / "single")
    losses = [point.validation_loss for point in single.points]
    assert [point.validation_loss for point in spans.points] == pytest.approx(losses, rel=1e-5)
    best, expected = load_best(here / "spans"), load_best(here / "single")
    assert best is not None and expected is not None
    for name, tensor in expected.observed.items():
        assert tensor.allclose(best.observed[name], atol=1e-5), name
