"""Instruction data on the command line: what is trained on is what `predict` asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_here, write_jsonl

NUM = 40
DATA = ("experiment=smoke", "data=files", "data.train=my.jsonl", "data.max_length=64")
WORDS = (*DATA, "task=generation", "model.kind=decoder")


def write(**columns: Any) -> None:
    """Write rows; a `#` in a text is the row's number."""
    rows = [json.loads(json.dumps(columns).replace("#", str(number))) for number in range(NUM)]
    write_jsonl(Path("my.jsonl"), rows)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    run_here(*words, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_system_message_is_in_the_examples_of_plan(here: Path) -> None:
    talk = [{"role": "user", "content": "Hi #."}, {"role": "assistant", "content": "Hello."}]
    write(text=talk)
    told = run_here("plan", "study=s", *WORDS, "data.system=Be kind, and brief!")
    assert "be kind , and" in told  # as the tiny model's tokenizer writes it


def test_a_system_message_for_texts_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(text="Hi #.", label="Hello.")
    line = refused(capsys, "plan", "study=s", *WORDS, "task.label=label", "data.system=Kind!")
    assert line == (
        "data.system: must be null for the texts of train, which are no conversations, got "
        "'Kind!'. Write it in task.template."
    )
    line = refused(capsys, "plan", "study=s", *DATA, "data.system=Kind!")
    assert line == (
        "data.system: must be null for task=classification, which reads no conversations, got "
        "'Kind!'."
    )
