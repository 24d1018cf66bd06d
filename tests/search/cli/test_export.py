"""Export of a run, as a model that can be trained further."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import run_here

WORDS = ("model=tiny", "strategy=full", "logger=none", "trainer.epochs=1", "data=files")


@pytest.mark.thorough
def test_a_run_is_exported_scored_elsewhere_and_trained_further(
    learnable: Path, here: Path
) -> None:
    words = (*WORDS, f"data.train={learnable}", "trainer.precision=fp32", "strategy.lr=3e-3")
    run_here("train", "run=one", *words)
    run_here("export", "run=one", "to=one")
    assert "run one" in (here / "one/README.md").read_text()
    split = ("split=test", "--json")
    scores = json.loads(run_here("evaluate", "run=one", *split))
    data = ("data=files", f"data.train={learnable}")
    assert json.loads(run_here("evaluate", "model=one", *data, *split)) == scores
    further = ("model=hub", "model.path=./one", "strategy.lr=1e-9")
    run_here("train", "run=two", *words, *further)
    again = json.loads(run_here("evaluate", "run=two", *split))
    assert again == pytest.approx(scores, abs=1e-4)  # it started from the weights of the first run


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "export: must be given one of study= and run=, got none. Write study=mine."),
        (
            ["run=a", "study=b"],
            "export: must be given one of study= and run=, got study, run. Write",
        ),
        (["run="], "run: must be set, got nothing. Set run=NAME."),
        (["run=a"], "run: must be a run in runs/, got 'a'. There is none yet;"),
        (["rum=a"], "rum: must be a known key, got rum. Did you mean run?"),
    ],
)
def test_a_failed_export_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    run_here("export", *words, "to=out", code=2)
    assert capsys.readouterr().err.startswith(line)
    assert not list(here.iterdir())
