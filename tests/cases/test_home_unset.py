"""W&B prints nothing in the terminal if there is no home folder: ../shared/cases/home-unset."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT, SHARED, needs

CASE = SHARED / "cases" / "home-unset"
pytestmark = needs(CASE)


@pytest.mark.thorough
def test_training_goes_on_without_lines_of_its_service(here: Path) -> None:
    shutil.copy(CASE / "base.csv", here)
    words = ("run=x", "model=tiny", "data=files", "data.train=base.csv", "trainer.max_steps=1")
    code = "import sys; from search.cli import main; sys.exit(main())"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *words],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert "server" not in done.stdout + done.stderr and "ERROR" not in done.stdout + done.stderr
    assert "Next: finesweep evaluate run=x" in done.stdout
    assert list((here / "runs/x/wandb").glob("offline-run-*"))
