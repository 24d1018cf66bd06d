"""Every token that is used must have an embedding; tokens that no row has do no harm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lightning_modules.check import check_run
from lightning_modules.error import ConfigError
from lightning_modules.run import Run
from search.config import build_run, compose

SAVED = "then save_pretrained of both."
FIX = f"Save it with more: model.resize_token_embeddings(len(tokenizer)), {SAVED}"


@pytest.fixture
def folder(here: Path) -> Path:
    tiny: Any = build_run(compose("train", ["model=tiny"]).tree).model
    tiny.load_tokenizer().save_pretrained(here / "model")
    tiny.load_network("AutoModelForSequenceClassification").save_pretrained(here / "model")
    return here / "model"


def run_on(folder: Path, texts: list[str]) -> Run:
    rows = [{"text": f"{text} {n}", "label": "ab"[n % 2]} for n, text in enumerate(texts * 10)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["model=hub", f"model.path={folder}", "data=files", "data.train=rows.jsonl"]
    return build_run(compose("train", [*words, "logger=none", "data.max_length=16"]).tree)


def add(folder: Path, **added: Any) -> int:
    """Add tokens to the tokenizer alone, and return the number of the first."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    number = len(tokenizer)
    for kind, tokens in added.items():
        if kind == "words":
            tokenizer.add_tokens(tokens)
        else:
            tokenizer.add_special_tokens({kind: tokens})
    tokenizer.save_pretrained(folder)
    return number


def refused(run: Run) -> str:
    with pytest.raises(ConfigError) as raised:
        check_run(run)
    (problem,) = raised.value.problems
    return str(problem)


def test_a_word_that_rows_have(folder: Path) -> None:
    number = add(folder, words=["covfefe", "unused"])
    rule = f"model: {folder} must have an embedding for every token that is used, got {number:,}"
    got = f"{rule} embeddings, and 'covfefe', in the rows, is token {number:,}. {FIX}"
    assert refused(run_on(folder, ["good", "so covfefe it is"])) == got
    assert check_run(run_on(folder, ["good", "a covfef"]))
    # The advice works.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert check_run(run_on(folder, ["good", "so covfefe it is"]))


def test_a_padding_token_that_was_added_alone(folder: Path) -> None:
    number = add(folder, pad_token="<padding>")
    found = refused(run_on(folder, ["good", "bad"]))
    assert f"and '<padding>', its pad_token, is token {number:,}" in found


def test_special_tokens_that_no_text_can_have(folder: Path) -> None:
    add(folder, additional_special_tokens=["<image>"])
    assert check_run(run_on(folder, ["good", "an <image> in a text"]))


def test_the_tokenizer_of_another_model(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.resize_token_embeddings(50)
    model.save_pretrained(folder)
    assert "got 50 embeddings, and " in refused(run_on(folder, ["good", "bad"]))
