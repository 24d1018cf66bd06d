"""A name that looks like a number is the name of a study or run: ../shared/cases/name-as-number."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASE = Path(__file__).parents[3] / "shared/cases/name-as-number"
ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
@pytest.mark.skipif(not CASE.is_dir(), reason="the cases are not here")
def test_names_stay_as_typed(here: Path) -> None:
    for file in CASE.iterdir():
        shutil.copy(file, here)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from search.cli import main"
    start = here / "finesweep"
    start.write_text(f"#!{sys.executable}\n{code}\nsys.exit(main())\n")
    start.chmod(0o755)
    shell = ["bash", "cmd.sh"]
    environment = {**os.environ, "FINESWEEP": str(start), "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        shell, capture_output=True, text=True, cwd=here, env=environment, check=True
    ).stdout.splitlines()
    firsts = ["1e-4", "1.0e-4", "2024_01_01", "true", "1e3"]
    names = [line.split()[1].rstrip(":") for line in printed if line.startswith("study  ")]
    assert names == ["62e4123", "71e9912", *firsts]
    assert any(line.startswith("study 62e4123: 1 complete") for line in printed)
    assert printed[-1] == "rc=0"
    assert {path.name for path in (here / "studies").iterdir()} == {"62e4123", "71e9912"}
