from __future__ import annotations

from pathlib import Path

import pytest

from lightning_modules.error import ConfigError
from lightning_modules.task.generation import Generation
from tests.lightning_modules.guard.conftest import DECODER, guard_of, run_of


@pytest.mark.parametrize(
    ("entry", "metric"),
    [
        ("forgetting", "nats_per_token"),
        ("{data: forgetting, metric: perplexity, at_most: +20%}", "perplexity"),
        ("{data: forgetting, metric: bits_per_byte, at_most: 2}", "bits_per_byte"),
    ],
)
def test_the_neutral_text_is_read_as_plain_text(entry: str, metric: str) -> None:
    loaded = guard_of(entry).load(run_of(*DECODER), ())
    assert isinstance(loaded.task, Generation) and loaded.task.metric == metric
    assert loaded.size == "8 rows" and not loaded.is_own
    texts = [row["text"] for row in loaded.rows]
    assert texts[0].startswith("A river") and texts[-1].endswith("made one first.")


def test_the_number_of_rows_may_be_limited() -> None:
    entry = "{data: forgetting, metric: loss, at_most: +5%, rows: 1}"
    assert guard_of(entry).load(run_of(*DECODER), ()).size == "1 row"


@pytest.mark.parametrize(
    ("words", "entry", "message"),
    [
        (
            ("model=tiny",),
            "forgetting",
            "data: forgetting needs a decoder that writes text, as with task=generation, got "
            "task=classification. Guard a metric of this task on other rows: {data: old.csv, "
            "metric: ...}.",
        ),
        (
            DECODER,
            "{data: forgetting, metric: rougeL, at_least: -5%}",
            "metric: rougeL must have answers to compare with, got plain text. Guard loss or "
            "perplexity, or rows with the run's own columns.",
        ),
        (
            DECODER,
            "{data: forgetting, metric: accuracy, at_least: -5%}",
            "metric: must be one of perplexity, nats_per_token, nats_per_character, bits_per_byte, "
            "rouge1, rougeL, exact_match, loss, got 'accuracy'.",
        ),
        (
            DECODER,
            "{data: forgetting, metric: loss, at_least: -5%}",
            "at_least: loss is better if it is lower, so its bound must be at_most, got 'at least "
            "-5 %'. Write at_most in place of at_least.",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(
    here: Path, words: tuple[str, ...], entry: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        guard_of(entry).load(run_of(*words), ())
    assert str(error.value).startswith(message)
