"""A run of its own: where its default values come from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from search.config import compose
from search.terminal.download import fetch_models
from search.trained.training import Job, job_of, notes_of, start

PRIOR = "prior full, small encoder: lr 0.0002"
TOKENS = "data 0% of texts are longer than data.max_length=48 (auto); 31 holds 95%, 42 holds 99%"
LENGTH = "length 600 rows in batches of 16: 38 steps an epoch; "


def job(*words: str) -> Job:
    return job_of(compose("train", ["run=r", "model=tiny", "strategy=full", *words]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), [PRIOR, f"{LENGTH}3 epochs", TOKENS]),
        (
            ("trainer.epochs=1",),
            [
                PRIOR,
                f"{LENGTH}1 epoch",
                TOKENS,
                "trainer.epochs=1 in batches of 16 are 38 steps; full needs about 50, i.e. "
                "trainer.epochs=2",
            ],
        ),
        (("optimizer.lr=1e-3",), [f"{LENGTH}3 epochs", TOKENS]),
        (("strategy=prompting",), [TOKENS]),
    ],
)
def test_a_run_says_where_its_defaults_come_from(
    words: tuple[str, ...], expected: list[str], here: Path
) -> None:
    one = job(*words)
    assert notes_of(one, start(one, partial(fetch_models, show=False))) == expected


def test_a_run_stores_the_length_that_its_rows_decided(here: Path) -> None:
    one = job()
    assert one.run.trainer.epochs == 3
    assert "epochs: 3\n" in one.config and "lr: 0.0002\n" in one.config
