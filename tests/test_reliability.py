"""The quick faults of the reliability benchmark, at its small scale, lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.postgres import postgres_binaries

from tests.shared import ROOT

# Takes minutes; tests/faults/ has the same for finesweep alone, in seconds.
pytestmark = pytest.mark.slow

HARNESS = ROOT / "benchmarks" / "reliability.py"
NAMES = ("claim", "budget", "distinct", "nan")


def test_nothing_is_lost(here: Path) -> None:
    storages = ["SQLite", "PostgreSQL"] if postgres_binaries() else ["SQLite"]
    words = ["--scale", "small", "--only", ",".join(NAMES), "--json"]
    done = subprocess.run(
        [sys.executable, str(HARNESS), *words],
        capture_output=True,
        text=True,
        cwd=here,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    measured = [(row["name"], row["storage"]) for row in rows]
    assert measured == [(name, storage) for name in NAMES for storage in storages]
    for row in rows:
        lost = {key: value for key, value in row["finesweep"].items() if isinstance(value, int)}
        assert lost and not any(lost.values()), row
    results = {(row["name"], row["storage"]): row["finesweep"] for row in rows}
    for storage in storages:
        assert results["budget", storage]["finished"] == "20, then 20; 20, then 20"
        assert results["distinct", storage]["distinct"] == "20 of 20"
