"""The local records of W&B runs, read by W&B's own tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def wandb_records(run: Path) -> list[dict[str, Any]]:
    """Return the records of an offline run."""
    wandb = Path(sys.executable).with_name("wandb")
    words = [wandb, "leet", "inspect", "--json", run]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    there = sorted(f"{path.relative_to(run)}" for path in run.rglob("*"))
    assert done.returncode == 0, f"{done.stderr}{done.stdout}{there}"
    return [json.loads(line) for line in done.stdout.splitlines()]
