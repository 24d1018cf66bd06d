from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.cache import Cache
from lightning_modules.check import check_fit, check_run, check_same_rows, load_rows
from lightning_modules.error import ConfigError, DataError
from lightning_modules.run import Run
from tests.training import tiny_run


@pytest.fixture
def make_run(learnable: Path) -> Callable[..., Run]:
    return partial(tiny_run, learnable)


def refusals(run: Run) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        check_run(run)
    return [str(problem) for problem in refusal.value.problems]


def test_a_run_that_fits_returns_its_rows_and_labels(make_run: Callable[..., Run]) -> None:
    checked = check_run(make_run())
    assert checked.labels == ("negative", "positive")
    splits = checked.corpus.splits
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 112,
        "validation": 24,
        "test": 24,
    }


def test_all_problems_of_a_run_are_reported_at_once(make_run: Callable[..., Run]) -> None:
    words = ("trainer.devices=3", "data.batch_size=2", "data.max_length=600")
    data, length, shares = refusals(make_run(*words, "data.text=missing"))
    assert data.startswith("data.text: ") and "missing" in data
    assert length == (
        "data.max_length: must be <= 512, the most tokens that tiny can read, got 600. "
        "Set data.max_length=512."
    )
    assert shares == (
        "data.batch_size: must be >= 3, the number of devices that share a batch, got 2. "
        "Set data.batch_size=3, or trainer.devices=2."
    )


def test_virtual_tokens_shorten_what_a_model_can_read(make_run: Callable[..., Run]) -> None:
    words = ("strategy=prompt_tuning", "strategy.num_tokens=12")
    check_run(make_run(*words, "data.max_length=500"))
    assert refusals(make_run(*words, "data.max_length=501")) == [
        "data.max_length: must be <= 500, the most tokens that tiny can read besides 12 virtual "
        "tokens, got 501. Set data.max_length=500."
    ]


def test_a_model_of_another_kind_than_the_task_needs_is_refused(
    make_run: Callable[..., Run],
) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_fit(make_run("task=generation"), None)
    assert str(refusal.value.problems[0]) == (
        "model: task=generation needs a model of kind decoder, got tiny, of kind encoder. "
        "Choose another model; finesweep sweep --help lists the kind of each."
    )


def test_a_strategy_that_does_not_train_uses_one_device(make_run: Callable[..., Run]) -> None:
    words = ("strategy=prompting", "model=minilm")
    assert not make_run(*words).strategy.trains
    with pytest.raises(ConfigError) as refusal:
        check_fit(make_run(*words, "trainer.devices=2"), None)
    assert "trainer.devices: must be 1, because strategy=prompting does not train, got 2." in {
        str(problem) for problem in refusal.value.problems
    }


def test_runs_on_the_same_rows_share_them_in_the_cache(
    make_run: Callable[..., Run], learnable: Path
) -> None:
    cache = Cache()
    checked = load_rows(make_run(), cache)
    assert load_rows(make_run("trainer.epochs=9", "strategy=lora"), cache) is checked
    learnable.unlink()
    assert load_rows(make_run(), cache) is checked
    with pytest.raises(ConfigError):
        load_rows(make_run(), Cache())


def test_check_same_rows_refuses_changed_rows(
    make_run: Callable[..., Run], learnable: Path
) -> None:
    run: Any = make_run()
    before = check_run(run).corpus.fingerprint
    check_same_rows(check_run(run).corpus.fingerprint, before)
    lines = learnable.read_text().splitlines(keepends=True)
    learnable.write_text("".join([*lines[:-1], lines[-1].replace("great", "superb")]))
    with pytest.raises(DataError) as refusal:
        check_same_rows(check_run(run).corpus.fingerprint, before)
    assert str(refusal.value) == (
        "data: the rows must be the ones that training started with, got changed files. "
        "Restore the files, or use a new name."
    )
