"""Every trial is a run of its own in W&B: ../shared/cases/wandb-run-id."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.shared import SHARED, needs

CASE = SHARED / "cases" / "wandb-run-id"
pytestmark = needs(CASE)


@pytest.mark.thorough
def test_an_id_of_the_environment_reaches_no_trial(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(CASE / "base.csv", here)
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    words = ("study=x", "model=tiny", "data=files", "data.train=base.csv", "search.num_trials=2")
    words = (*words, "trainer.epochs=1", "trainer.max_steps=1", "search.workers=0")
    printed = run_here("sweep", *words, "search.confirm=0")
    runs = [path.name for path in (here / "studies/x/wandb").glob("offline-run-*")]
    assert len({name.rpartition("-")[2] for name in runs}) == 3 == len(runs)
    assert not any("abc123" in name for name in runs)
    assert printed.count("WANDB_RUN_ID describes a single W&B run") == 1
