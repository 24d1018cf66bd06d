"""A length beyond every model is refused in one line, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "t5-huge-length"
pytestmark = needs(CASE)


def test_the_bound_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run=x", "logger=none", "model=hub", f"model.path={CASE}/model", "task=translation"]
    words += ["strategy=full", "data=files", f"data.train={CASE}/s2s.jsonl"]
    assert main(["train", *words, f"data.max_length={10**20}", "trainer.max_steps=1"]) == 2
    assert capsys.readouterr().err == (
        "data.max_length: must be <= 10,000,000 tokens, more than any model reads, got "
        "100000000000000000000.\n"
    )
