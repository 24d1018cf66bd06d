"""Tokens that the embeddings lack are refused in one line, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli import main
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "added-tokens"
pytestmark = needs(CASE)
WORDS = ["logger=none", "model=hub", f"model.path={CASE}/model", "data=files"]


@pytest.mark.parametrize("command", [["train", "run=x"], ["sweep", "study=x"], ["plan"]])
def test_it_is_refused_before_training(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *WORDS, f"data.train={CASE}/added.csv", "trainer.max_steps=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"model: {CASE}/model must have an embedding for every token that is used, got 154 "
        "embeddings, and 'extra"
    )
    assert not Path("runs").exists() and not Path("studies").exists()
