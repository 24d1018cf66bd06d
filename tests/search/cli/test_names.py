"""Every command knows a study and a run by the very name that was typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import run_here

TINY = ("model=tiny", "data=files", "trainer.max_steps=1", "logger=none", "task.label=007")


@pytest.fixture
def rows(here: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:
    monkeypatch.setenv("MINE", str(here))
    lines = [f"{word} {number},{number % 2}" for number in range(40) for word in ("a", "b")]
    (here / "my data (1).csv").write_text("\n".join(["1e3,007", *lines]) + "\n")
    return here


def test_a_study_keeps_its_name_in_every_command(rows: Path) -> None:
    words = (*TINY, "data.train=$MINE/my data (1).csv", "data.text=1e3", "search.num_trials=1")
    words = (*words, "search.workers=0")
    run_here("sweep", "study=1e-4", *words)
    assert (rows / "studies/1e-4").is_dir()
    assert run_here("status", "study=1e-4").startswith("study 1e-4: 1 complete")
    assert "study   1e-4:" in run_here("plan", "study=1e-4", *words)
    assert "queued as trial 1 of study 1e-4" in run_here("try", "study=1e-4", "optimizer.lr=1e-2")
    assert json.loads(run_here("drop", "study=1e-4", "trial=1", "--json"))["study"] == "1e-4"
    assert run_here("stop", "study=1e-4") == "study 1e-4 ends now\n"
    assert "study 1e-4, validation rows" in run_here("evaluate", "study=1e-4")
    run_here("train", "study=1e-4", "trial=0", "run=2024_01_01")
    assert "run 2024_01_01, validation rows" in run_here("evaluate", "run=2024_01_01")
    run_here("export", "run=2024_01_01", "to=$MINE/1e3")
    run_here("predict", "model=$MINE/1e3", "input=$MINE/my data (1).csv", "output=$MINE/1e3.jsonl")
    assert len((rows / "1e3.jsonl").read_text().splitlines()) == 80
