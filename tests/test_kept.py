"""What an earlier version wrote still opens, continues and predicts; see `tests/kept/README.md`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import run_here

KEPT = Path(__file__).parent / "kept"
SCORES = {"accuracy": 0.5, "macro_f1": 0.333333, "mcc": 0.0}


@pytest.fixture
def kept(here: Path, one_thread: None) -> Path:
    shutil.copytree(KEPT, here, dirs_exist_ok=True)
    return here


def test_a_study_continues_to_a_larger_budget(kept: Path) -> None:
    words = "model=tiny strategy=lora logger=none search.workers=0 trainer.epochs=1"
    words += " data.max_length=32 search.keep=1 search.num_trials=3"
    printed = run_here("sweep", "study=small", *words.split())
    assert "3 complete" in printed
    lines = (kept / "studies/small/trials.csv").read_text(encoding="utf-8").splitlines()
    before = (KEPT / "studies/small/trials.csv").read_text(encoding="utf-8").splitlines()
    assert lines[: len(before)] == before
    assert len(lines) == len(before) + 1


def test_a_study_shows_its_status(kept: Path) -> None:
    status = json.loads(run_here("status", "study=small", "--json"))
    assert status["states"]["complete"] == 2


def test_a_trial_repeats_to_the_same_score(kept: Path) -> None:
    printed = run_here("train", "study=small", "trial=1", "run=again")
    assert "to the same score" in printed


@pytest.mark.parametrize(("source", "log_loss"), [("study", 0.693152), ("run", 0.693225)])
def test_trained_weights_keep_their_scores(kept: Path, source: str, log_loss: float) -> None:
    scores = json.loads(run_here("evaluate", f"{source}=small", "--json"))
    assert scores == pytest.approx(SCORES | {"log_loss": log_loss}, abs=1e-5)


@pytest.mark.parametrize("source", ["export", "study"])
def test_an_export_predicts_as_before(kept: Path, source: str) -> None:
    if source == "study":
        shutil.rmtree(kept / "export")
        run_here("export", "study=small", "to=export")
    run_here("predict", "model=export", "input=input.jsonl", "output=now.jsonl")
    for now, before in zip(
        (kept / "now.jsonl").read_text(encoding="utf-8").splitlines(),
        (KEPT / "export.jsonl").read_text(encoding="utf-8").splitlines(),
        strict=True,
    ):
        row, expected = json.loads(now), json.loads(before)
        assert row.pop("scores") == pytest.approx(expected.pop("scores"), abs=1e-5)
        assert row == expected
