"""Configurations without token ids, and decoders inside others: train, export and predict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "config-without-token-ids"
pytestmark = needs(CASE)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mobilebert", []),
        ("funnel", []),
        ("gemma3mm", []),
        ("gemma3mm", ["task=generation", "task.max_new_tokens=4"]),
        ("codegen", ["task=generation", "task.max_new_tokens=4"]),
    ],
)
def test_it_trains_is_exported_and_predicts(
    name: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CASE / ("gen.jsonl" if words else "var.csv")
    words = [*words, "strategy=full", "logger=none", "model=hub", f"model.path={CASE}/{name}"]
    words += ["data=files", f"data.train={file}", "data.max_length=32", "trainer.max_steps=1"]
    assert main(["train", "run=x", *words]) == 0
    said = capsys.readouterr().out
    assert ("attention is computed as eager: funnel has no other" in said) == (name == "funnel")
    assert main(["export", "run=x", "to=out"]) == 0
    assert main(["predict", "model=out", f"input={file}", "output=p.jsonl"]) == 0
    lines = Path("p.jsonl").read_text().splitlines()
    assert len(lines) == len(file.read_text().splitlines()) - (file.suffix == ".csv")
    assert all("prediction" in json.loads(line) for line in lines)
